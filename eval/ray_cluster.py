"""A connection to a Ray cluster that keeps quiet; what its nodes have, and whether they fit."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errand import software
from eval.process import REPOSITORY

_JOBS_ON_A_PROCESSOR = 4
"""At most so many jobs on a machine without a GPU, as with the local executor."""

_LOCAL_STORE_BYTES = 200 << 20
_LONGEST_TEMPORARY = 40  # sockets lie below it, whose paths may have 107 characters
_LOOK_SECONDS = 120.0
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one job gets of a node; whole: the processors of the largest node."""

    cpus: int
    gpus: int
    whole: int


def connect(address: str | None) -> bool:
    """Connects to the cluster at `address` (auto: the one that RAY_ADDRESS names or that runs on
    this machine; none: a new one on this machine; None: auto, or else none). Gives whether this
    process was not connected before, and so has to end it.

    Raises ValueError where there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What will be Ray's default: a task without a GPU sees what the machine has.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and "://" in address:
        raise ValueError(
            f"--ray-address {address}: expected auto, none or HOST:PORT; run this command on a "
            "node of the cluster (`ray job submit` does)"
        )
    if address not in (None, "auto", "none"):
        _require_answer(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _our_signal_handlers():
        try:
            if address != "none":
                ray.init(address=address or "auto", **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if address is not None:
                reason = str(error).strip().splitlines()[0]
                raise ValueError(
                    f"--ray-address {address}: no Ray cluster answers there ({reason}); start one "
                    "with `ray start --head`, or give none for one on this machine alone"
                ) from error
        if not ray.is_initialized():
            if len(tempfile.gettempdir()) > _LONGEST_TEMPORARY:
                quiet["_temp_dir"] = "/tmp/ray"
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_LOCAL_STORE_BYTES,
                **quiet,
            )
    _hush(ray)
    return True


def _require_answer(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise ValueError(
            f"--ray-address {address}: nobody answers there ({error}); give HOST:PORT of a cluster "
            "that `ray start --head` has started, or none for one on this machine alone"
        ) from error


def _hush(ray: Any) -> None:
    """Ray prints the last lines of a dead node's log; we say ourselves that it is lost."""
    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


@contextmanager
def _our_signal_handlers() -> Iterator[None]:
    """Puts back what Ray replaces when it starts."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def nodes_alive() -> list[dict[str, Any]]:
    """What Ray knows of each node that is there."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def working_nodes() -> list[dict[str, Any]]:
    """The nodes that are there and have a processor for jobs."""
    return [node for node in nodes_alive() if node["Resources"].get("CPU", 0) >= 1]


def share_of(nodes: list[dict[str, Any]]) -> Share:
    """One GPU a job where there are any, with its share of the processors; else up to four jobs on
    each machine. Raises ValueError where no node has a processor for jobs."""
    if not nodes:
        raise ValueError(
            "the Ray cluster has no node with a processor for jobs: start nodes with `ray start "
            "--address HOST:PORT`"
        )
    with_gpu = [node for node in nodes if node["Resources"].get("GPU", 0) >= 1]
    of = with_gpu or nodes
    cpus = [int(node["Resources"]["CPU"]) for node in of]
    jobs = (
        [int(node["Resources"]["GPU"]) for node in with_gpu]
        if with_gpu
        else [min(_JOBS_ON_A_PROCESSOR, count) for count in cpus]
    )
    least = min(count // number for count, number in zip(cpus, jobs, strict=True))
    return Share(cpus=max(1, least), gpus=1 if with_gpu else 0, whole=max(cpus))


def check_nodes(nodes: list[dict[str, Any]], token: tuple[Path, str]) -> bool:
    """Whether all nodes see the driver's `token`. Raises ValueError that names the nodes which do
    not run what this process runs."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look(folder: str, token: tuple[str, str], expected: dict[str, str]) -> tuple[str, bool]:
        """What speaks against this node, and whether it sees the token; sent as it stands here."""
        import socket
        import sys
        from pathlib import Path

        sys.path.append(folder)
        try:
            from eval.errand import OtherSoftware, require_same_software
            from eval.ray_task import sees
        except ImportError as error:
            return (
                f"node {socket.gethostname()} cannot load Trickle ({error}): install the same "
                f"version as with the driver there, or let the node see {folder}"
            ), False
        try:
            require_same_software(expected)
        except OtherSoftware as error:
            return str(error), False
        return "", sees((Path(token[0]), token[1]))

    task = ray.remote(look)
    asked = [
        task.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote(str(REPOSITORY), (str(token[0]), token[1]), software())
        for node in nodes
    ]
    seen, wrong = [], []
    for node, answer in zip(nodes, asked, strict=True):
        name = node["NodeManagerHostname"]
        try:
            problem, sees_it = ray.get(answer, timeout=_LOOK_SECONDS)
        except ray.exceptions.RayError as error:
            problem, sees_it = f"node {name} does not answer ({type(error).__name__})", False
        seen.append(sees_it)
        wrong += [problem] if problem else []
    if wrong:
        raise ValueError("\n".join(dict.fromkeys(wrong)))
    return all(seen)
