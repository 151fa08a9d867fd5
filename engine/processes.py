"""Which of several processes this is, where torchrun started them to train one model together.

torchrun --nproc-per-node 2 -m detection.finetune ...

The first process alone writes checkpoints, logs, artifacts and results, and shows progress. No
torch is imported before it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from engine.fast_paths import switched_off

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together: what torchrun says, else 1."""
    return int(os.environ["WORLD_SIZE"]) if _launched() else 1


def rank() -> int:
    """Which of them this process is, from 0."""
    return int(os.environ["RANK"]) if _launched() else 0


def local_rank() -> int:
    """Which of those on this machine; also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def tell(text: str) -> None:
    """A line on standard error, once for all processes."""
    if is_main():
        print(text, file=sys.stderr)


def _launched() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def share_of(batch_size: int) -> int:
    """How many of a batch's images one process takes; ValueError where they cannot be shared."""
    processes = world_size()
    if batch_size % processes:
        raise ValueError(
            f"a batch of {batch_size} images cannot be shared equally by {processes} processes: "
            "start a number of processes that divides the batch, or change the batch size"
        )
    return batch_size // processes


def how_it_ran() -> dict[str, int | str]:
    """For the protocol: the number of processes, where it was not one, and what was done the plain
    way instead of the fast one, where that was asked for."""
    found: dict[str, int | str] = {}
    if world_size() > 1:
        found["processes"] = world_size()
    if plain := switched_off():
        found["reference_paths"] = ", ".join(plain)
    return found


def stay_on_this_machine() -> None:
    """Where all processes run on one machine, they listen to it alone, on the loopback interface.

    Left to themselves they take the one that the machine's name leads to, which others may reach,
    and they ask nobody for a password. What the user has chosen stays.
    """
    if os.environ.get("LOCAL_WORLD_SIZE") == str(world_size()):
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")


@contextmanager
def process_group() -> Iterator[None]:
    """Within the block the processes that torchrun started can speak: nccl on GPUs, else gloo.

    A process that was started alone is left as it is. An exception leaves the group as it is too:
    this process ends, and torchrun ends the others. Raises ValueError where they do not run the
    same software.
    """
    if world_size() == 1:
        yield
        return
    import torch
    from torch import distributed

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(local_rank())
    stay_on_this_machine()
    distributed.init_process_group("nccl" if gpu else "gloo")
    from engine.agreement import require_same_software

    require_same_software()
    yield
    distributed.destroy_process_group()


def lost_another(error: RuntimeError) -> bool:
    """Whether an exception says that the connection to another process broke."""
    if world_size() == 1:
        return False
    from torch import distributed

    # gloo has no class of its own, but says in which file of its own it found out.
    return isinstance(error, distributed.DistBackendError) or "third_party/gloo" in str(error)


def of_the_first(choose: Callable[[], T]) -> T:
    """What `choose` gives in the first process, for all of them; the others do not call it."""
    if world_size() == 1:
        return choose()
    from torch import distributed

    found: list[Any] = [choose() if is_main() else None]
    distributed.broadcast_object_list(found)
    return cast("T", found[0])


def wait_for_others() -> None:
    """Returns once every process is here."""
    if world_size() > 1:
        from torch import distributed

        distributed.barrier()
