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
        self.best: float | None = None
        self.waited = 0

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[_STATE] = {"best": self.best, "waited": self.waited}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.best, self.waited = checkpoint[_STATE]["best"], checkpoint[_STATE]["waited"]

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None, "a validation has metrics"
        value = float(metrics[self.metric])
        better = self.best is None or value > self.best
        self.waited = 0 if better else self.waited + 1
        self.best = value if better else self.best
        if self.waited >= self.patience:
            runner.train_loop.stop_training = True
