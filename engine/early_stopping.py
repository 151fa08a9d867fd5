"""Ends a training that no longer gets better."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

_STATE = "early_stopping"


class StopEarly(Hook):
    """Ends the training after `patience` validations in a row without a new best `metric`.

    The weights are those of the last step. What it has seen is kept in the checkpoint, so that a
    resumed run ends where an uninterrupted one does.
    """

    def __init__(self, *, patience: int, metric: str) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 validation, not {patience}")
        self.patience, self.metric = patience, metric

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None, "a validation has metrics"
        seen = runner.message_hub.get_info(_STATE, {"best": None, "waited": 0})
        value, best = float(metrics[self.metric]), seen["best"]
        better = best is None or value > best
        waited = 0 if better else seen["waited"] + 1
        best = value if better else best
        runner.message_hub.update_info(_STATE, {"best": best, "waited": waited})
        if waited >= self.patience:
            runner.train_loop.stop_training = True
