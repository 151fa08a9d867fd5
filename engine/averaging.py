"""An exponential moving average of the weights, kept beside a training and taken at its end."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook


class AveragedWeights(EMAHook):
    """mmengine's EMA of weights and running statistics, once for each optimizer step.

    Validation sees the average, and after the training the model holds it. decay: share of the
    old average in the new one; the first step's weights start the average.
    """

    def __init__(self, decay: float, *, accumulate: int = 1) -> None:
        super().__init__(momentum=1 - decay, update_buffers=True)
        self.accumulate = accumulate

    def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        if (batch_idx + 1) % self.accumulate == 0:
            super().after_train_iter(runner, batch_idx, *args, **kwargs)

    def after_train(self, runner: Any) -> None:
        self._swap_ema_parameters()
