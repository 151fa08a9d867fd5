"""A loss that is no number or explodes, and weights that are no numbers, end a run soon."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.hooks import Hook

from engine.checkpoints import bare, latest_checkpoint

EXPLODED = 1e4
"""A loss is lost above this many times the median of a run's first losses, and never below this
number itself. Healthy losses start at the logarithm of the number of classes and fall; a warmup's
bump or a distillation's temperature (which scales the first losses alike) stay within a factor of
a few. A loss 10,000 times as large as before anything was learned does not come back."""

_STATE = "first_losses"


class Diverged(RuntimeError):
    """The training is lost: its loss is NaN, infinite or exploded, or its weights or running
    statistics are not finite."""


class StopOnDivergence(Hook):
    """Raises Diverged within `interval` steps of the first loss that is lost (see EXPLODED).

    It looks before each checkpoint too, also at the weights and running statistics,
    and so before each validation: what
    is kept is always from before the trouble. A run that goes on from there ends the same way.
    """

    priority = "NORMAL"

    def __init__(self, *, interval: int = 10) -> None:
        self.interval = interval
        self.first: list[float] = []  # losses of the first interval, from which the bound follows
        self.unread: list[Any] = []  # of these, what still lies on the GPU
        self.loss: Any = None

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        loss = outputs["loss"]
        # Detached: kept on to the next step, it would keep the whole graph.
        self.loss = loss.detach() if isinstance(loss, torch.Tensor) else loss
        if batch_idx < self.interval:
            self.unread.append(self.loss)
        if (batch_idx + 1) % self.interval == 0:
            self._check(runner, batch_idx + 1)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self._check(runner, runner.iter)
        # A float16 overflow leaves out the step and keeps the statistics that it spoiled.
        for name, tensor in bare(runner.model).state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise Diverged(self._said(runner, runner.iter, f"{name} is not finite"))
        checkpoint[_STATE] = self.first

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.first = checkpoint[_STATE]

    def _check(self, runner: Any, step: int) -> None:
        self.first += [float(loss) for loss in self.unread]
        self.unread = []
        if self.loss is None:
            return
        loss = float(self.loss)
        usual = [value for value in self.first if math.isfinite(value)]
        bound = EXPLODED * max(1.0, median(usual) if usual else 1.0)
        if not math.isfinite(loss):
            raise Diverged(self._said(runner, step, f"the loss is {loss}"))
        if abs(loss) > bound:
            raise Diverged(self._said(runner, step, f"the loss is {loss:.4g}, above {bound:.4g},"))

    @staticmethod
    def _said(runner: Any, step: int, what: str) -> str:
        last: Path | None = latest_checkpoint(runner.work_dir)
        good = "there is no checkpoint from before" if last is None else f"the last good is {last}"
        return f"{what} at step {step} of {runner.max_iters}; {good}"
