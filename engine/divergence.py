"""A loss that is no number ends a run at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import Hook


class Diverged(RuntimeError):
    """The training loss became NaN or infinite."""


class StopOnDivergence(Hook):
    """Raises Diverged within `interval` steps of the first loss that is not finite.

    It looks before each checkpoint and each validation too (and has the higher priority), so that
    nothing is written or measured after the loss was lost.
    """

    priority = "NORMAL"

    def __init__(
        self, *, checkpoint_interval: int, validation_interval: int, interval: int = 10
    ) -> None:
        self.intervals = (interval, checkpoint_interval, validation_interval)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        done = batch_idx + 1
        if all(done % interval for interval in self.intervals) and done != runner.max_iters:
            return
        loss = outputs["loss"]
        value = loss.item() if isinstance(loss, torch.Tensor) else float(loss)
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} at step {done} of {runner.max_iters}")
