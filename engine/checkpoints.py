"""What a training writes down to go on from, where it lies, and which of it is still good."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn

from engine.checkpoint_file import DamagedCheckpoint, read_checkpoint, write_checkpoint
from engine.fast_paths import VARIABLE, switched_off
from engine.processes import is_main, world_size
from engine.sync_batch_norm import learns_per_process

KEPT = 2
"""Checkpoints that stay: should the newest be damaged, there is the one before."""

_NAME = re.compile(r"iter_(\d+)\.safetensors")


def checkpoints(work_dir: str | Path) -> list[Path]:
    """The checkpoints of a work directory, the newest first."""
    found = {
        int(match.group(1)): path
        for path in Path(work_dir).glob("iter_*.safetensors")
        if (match := _NAME.fullmatch(path.name))
    }
    return [found[step] for step in sorted(found, reverse=True)]


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint of the highest step in a work directory, or None."""
    return next(iter(checkpoints(work_dir)), None)


def remove_unfinished(work_dir: str | Path) -> None:
    """Removes what a process that was killed while saving has left behind."""
    for temporary in Path(work_dir).glob(".iter_*.safetensors.tmp-*"):
        temporary.unlink(missing_ok=True)


def remove_all(work_dir: str | Path) -> None:
    """Removes what a training that is over would go on from; what is damaged stays set aside."""
    remove_unfinished(work_dir)
    for path in checkpoints(work_dir):
        path.unlink(missing_ok=True)


def save(runner: Any, *, seconds: float) -> Path:
    """Writes the state of a runner that has done `runner.iter` steps; gives the file.

    seconds: that it has trained, those before an interruption included. Hooks add their own state
    in `before_save_checkpoint` (the weights' average, early stopping). Of the older checkpoints
    the newest stays. Of several processes the first writes. Raises OSError when the disk
    refuses; all older ones are there then.
    """
    state: dict[str, Any] = {
        "meta": {
            "iter": runner.iter,
            "epoch": runner.epoch,
            "seconds": seconds,
            "remarks": runner.remarks,
            "choices": dict(runner.choices),
            "reference_paths": switched_off(),
            **({"processes": world_size()} if world_size() > 1 else {}),
        },
        "state_dict": bare(runner.model).state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "param_schedulers": [schedule.state_dict() for schedule in runner.param_schedulers or []],
    }
    runner.call_hook("before_save_checkpoint", checkpoint=state)
    path = Path(runner.work_dir) / f"iter_{runner.iter}.safetensors"
    if not is_main():
        return path
    write_checkpoint(path, state)
    for old in checkpoints(runner.work_dir)[KEPT:]:
        with suppress(OSError):  # what is no file there stops no training
            old.unlink()
    return path


def choices(work_dir: str | Path) -> dict[str, str]:
    """What the training whose checkpoints lie here measured when it began, by name, so that it goes
    on in the same way; empty where none goes on.

    Damaged files are passed over, as `resume` passes over them and says so.
    """
    for path in checkpoints(work_dir):
        with suppress(DamagedCheckpoint, OSError):
            found: dict[str, str] = read_checkpoint(path)["meta"].get("choices", {})
            return found
    return {}


def resume(runner: Any) -> tuple[float, str]:
    """Puts a runner into the state of its newest checkpoint that is whole, if there is one.

    Gives the seconds that it had trained, and remarks, now or of an earlier resume, which are said
    on standard error too: what was found damaged, which is set aside as FILE.damaged, and where
    other things are done the plain way than before. Raises ValueError where a checkpoint is of
    another model or optimizer, or of another number of processes that matters.
    """
    remarks: list[str] = []
    for path in checkpoints(runner.work_dir):
        try:
            state = read_checkpoint(path)
        except PermissionError:  # to be corrected, not to be trained anew
            raise
        except (DamagedCheckpoint, OSError) as error:
            if not os.path.lexists(path):  # set aside by another of several processes
                continue
            what = (
                f"{path} cannot be read ({error.strerror})"
                if isinstance(error, OSError)
                else str(error)
            )
            remarks.append(f"{what}; {_set_aside(path)}")
            continue
        _require_same_shares(runner, state["meta"], path)
        seconds, earlier = _restore(runner, state, path)
        remarks += _other_paths(state["meta"])
        now = _said(remarks, f"the training went on from step {runner.iter}")
        return seconds, "; ".join(filter(None, (earlier, now)))
    return 0.0, _said(remarks, "no checkpoint was left, the training started anew")


def bare(model: nn.Module) -> nn.Module:
    """The model without what torch puts around it for several processes."""
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]


def _require_same_shares(runner: Any, meta: dict[str, Any], path: Path) -> None:
    """ValueError where batch normalization would see larger or smaller shares than until now."""
    before, now = meta.get("processes", 1), world_size()
    if before == now or runner.batch_norm == "global":
        return
    if learns_per_process(bare(runner.model)):
        raise ValueError(
            f"{path} is of {before} processes and this training has {now}: batch normalization "
            "sees the share of one process, which would change within the training. Start "
            f'{before} again, or name another work directory; with batch_norm = "global" in the '
            "benchmark file a training may go on with any number of processes"
        )


def _restore(runner: Any, state: dict[str, Any], path: Path) -> tuple[float, str]:
    """Gives the seconds that were trained, and the remarks until then."""
    try:
        meta = state["meta"]
        runner.call_hook("after_load_checkpoint", checkpoint=state)
        bare(runner.model).load_state_dict(state["state_dict"], strict=True)
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for schedule, saved in zip(
            runner.param_schedulers or [], state["param_schedulers"], strict=True
        ):
            schedule.load_state_dict(saved)
        runner.train_loop._iter, runner.train_loop._epoch = meta["iter"], meta["epoch"]
        return float(meta["seconds"]), str(meta["remarks"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is of another model or optimizer: name another work directory, or delete "
            f"this one to start anew ({error})"
        ) from error


def _other_paths(meta: dict[str, Any]) -> list[str]:
    """A remark where not the same is done the plain way as until now."""
    now = switched_off()
    before = tuple(meta.get("reference_paths", now))
    if before == now:
        return []
    named = [", ".join(paths) or "nothing" for paths in (before, now)]
    return [f"{VARIABLE} named {named[0]} until step {meta['iter']}, and {named[1]} after it"]


def _set_aside(path: Path) -> str:
    """Gives what became of it."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except FileNotFoundError:  # another of several processes was faster
        pass
    except OSError as error:
        return f"it could not be set aside ({error.strerror}): delete it"
    return f"set aside as {aside.name}"


def _said(remarks: list[str], then: str) -> str:
    if not remarks:
        return ""
    text = "; ".join([*remarks, then])
    if is_main():
        print(f"  {text}", file=sys.stderr, flush=True)
    return text
