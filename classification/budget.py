"""A recipe speaks of ImageNet, a benchmark has its own images: this fits one to the other."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.schema import PretrainingBudget
from classification.recipe import Recipe
from classification.schedules import learning_rate_factor


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What one pretraining does on one data set.

    steps: optimizer steps; batch_size: images per step; learning_rate_scale: factor on the
    optimizer's learning rate; recipe: its epochs stay in the recipe's own units, so that warmup
    and milestones keep their share of the run.
    """

    recipe: Recipe
    steps: int
    batch_size: int
    learning_rate_scale: float

    def learning_rate_factor(self, step: int) -> float:
        """The schedule's factor at a step in [0, steps]."""
        return learning_rate_factor(
            self.recipe.epochs * step / self.steps,
            schedule=self.recipe.schedule,
            warmup_epochs=self.recipe.warmup_epochs,
            epochs=self.recipe.epochs,
        )


def training_plan(recipe: Recipe, budget: PretrainingBudget, images: int) -> TrainingPlan:
    """The recipe's epochs, batch size and learning rate, each times the budget's scale."""
    batch_size = max(2, round(recipe.batch_size * budget.batch_size_scale))
    epochs = recipe.epochs * budget.epoch_scale
    return TrainingPlan(
        recipe=recipe,
        steps=max(1, round(epochs * images / batch_size)),
        batch_size=batch_size,
        learning_rate_scale=budget.learning_rate_scale,
    )
