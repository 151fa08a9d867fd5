"""Which part of a classifier learns at which step."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from classification.budget import TrainingPlan
from classification.model import Classifier


class Unfreezing(Hook):
    """Freezes before each step what the plan says does not learn yet: no state to save or resume.

    What begins to learn has an empty state of the optimizer: without gradients it had no steps.
    """

    priority = "HIGH"

    def __init__(self, classifier: Classifier, plan: TrainingPlan) -> None:
        self.classifier, self.plan = classifier, plan

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        step, inside = divmod(batch_idx, self.plan.accumulation)
        stages = self.plan.frozen_stages(step)
        if stages != self.classifier.frozen_stages:
            self.classifier.freeze(stages)
        if step and not inside and stages != self.plan.frozen_stages(step - 1):
            _forget_steps(runner.optim_wrapper.optimizer)


def _forget_steps(optimizer: Any) -> None:
    """Some of timm's optimizers (Adan, LAMB) count the steps of a group, not of its weights."""
    for group in optimizer.param_groups:
        if "step" in group and not any(p in optimizer.state for p in group["params"]):
            del group["step"]
