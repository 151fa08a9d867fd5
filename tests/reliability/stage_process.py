"""One run of a stage in a process of its own, which tells what it saw and may kill itself."""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any


def run(
    module: str,
    argv: list[str],
    environment: dict[str, str],
    log: Path,
    kill_at: int | None,
    holds: int | None,
) -> None:
    """Runs the stage's `main` with its output in `log`; exits with its code.

    kill_at: SIGKILL before that call of the runner's hooks, of which each step has two, each
    checkpoint and each validated image some. holds: images in a training step above which memory
    runs out. What a run that ended has seen lies beside `log`, in
    .json: "calls" of hooks, "train" (a list of digests for each step), "val", "losses".
    """
    os.environ.update(environment)
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    multiprocessing.set_start_method("fork", force=True)  # as in a process started by hand
    stage = importlib.import_module(module)
    from engine.stage import run_stage

    if holds is not None:
        _limit_memory(holds)
    seen = _watch_hooks(kill_at)
    code = run_stage(stage.main, argv)
    log.with_suffix(".json").write_text(json.dumps(seen))
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def _watch_hooks(kill_at: int | None) -> dict[str, Any]:
    from mmengine.runner import Runner

    seen: dict[str, Any] = {"calls": 0, "train": [], "val": [], "losses": []}
    call_hook = Runner.call_hook

    def watched(self: Any, name: str, **options: Any) -> None:
        seen["calls"] += 1
        if seen["calls"] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        call_hook(self, name, **options)
        if name == "before_train_iter":
            seen["train"].append(digests(options["data_batch"]))
        elif name == "after_train_iter":
            seen["losses"].append(float(options["outputs"]["loss"]))
        elif name == "before_val_iter":
            seen["val"] += digests(options["data_batch"])

    Runner.call_hook = watched
    return seen


def _limit_memory(holds: int) -> None:
    from mmengine.model import BaseModel

    run_forward = BaseModel._run_forward

    def limited(self: Any, data: Any, mode: str) -> Any:
        if mode == "loss" and len(next(iter(data.values()))) > holds:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: ...")
        return run_forward(self, data, mode)

    BaseModel._run_forward = limited


def digests(batch: dict[str, Any]) -> list[str]:
    """Of each sample: its pixels, and its label, boxes or mask."""
    if "images" in batch:
        keys = [key for key in ("images", "lighting", "labels") if key in batch]
        return [_digest([batch[key][i] for key in keys]) for i in range(len(batch["images"]))]
    return [
        _digest([image, *_truth(sample)])
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
    ]


def _truth(sample: Any) -> list[Any]:
    if "gt_sem_seg" in sample:
        return [sample.gt_sem_seg.data]
    boxes = sample.gt_instances.bboxes
    return [getattr(boxes, "tensor", boxes), sample.gt_instances.labels]


def _digest(tensors: list[Any]) -> str:
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(str(tuple(tensor.shape)).encode())
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()[:16]
