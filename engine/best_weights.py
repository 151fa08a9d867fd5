"""Ends a training with the weights of its best validation."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from engine.checkpoints import bare
from engine.processes import tell

_STATE = "best_weights"


class KeepBest(Hook):
    """Keeps the weights of the validation with the highest `metric`, the last of several alike,
    and puts them back after the training; they are validated once more, so that the metrics of
    the train loop are theirs. The last: few images are soon all answered right, by weights that
    have hardly learned anything.

    What is kept is what the validation saw: of an average of the weights, the average. It is in the
    checkpoints, so that a resumed run ends where an uninterrupted one does.
    """

    priority = "HIGH"  # before the average leaves the model again

    def __init__(self, *, metric: str, label: str) -> None:
        self.metric, self.label = metric, label
        self.best: float | None = None
        self.step = 0
        self.weights: dict[str, Tensor] = {}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[_STATE] = {"best": self.best, "step": self.step, "weights": self.weights}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint[_STATE]
        self.best, self.step, self.weights = kept["best"], kept["step"], kept["weights"]

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None, "a validation has metrics"
        value = float(metrics[self.metric])
        if self.best is None or value >= self.best:
            self.best, self.step = value, runner.iter
            state = bare(runner.model).state_dict()
            self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}

    def after_run(self, runner: Any) -> None:  # an average comes into the model in `after_train`
        if self.step == runner.iter or not self.weights:
            return
        bare(runner.model).load_state_dict(self.weights, strict=True)
        tell(
            f"  {self.label}: back to the weights of step {self.step}, which validated best: "
            f"{self.metric} {self.best:.1f}"
        )
        runner.train_loop.metrics = _validated(runner)


def _validated(runner: Any) -> dict[str, Any]:
    """The metrics, without what hooks do around a validation: they are for one on the way."""
    loop = runner.val_loop
    runner.model.eval()
    with torch.no_grad():
        for batch in loop.dataloader:
            loop.evaluator.process(data_samples=runner.model.val_step(batch), data_batch=batch)
    found: dict[str, Any] = loop.evaluator.evaluate(len(loop.dataloader.dataset))
    return found
