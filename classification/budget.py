"""A recipe speaks of ImageNet, a benchmark has its own images: this fits one to the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backbones.catalog import NATIVE_SIZES
from benchmarks.schema import PretrainingBudget, ScaledBudget
from classification.recipe import Recipe
from classification.schedules import learning_rate_factor
from classification.tricks.pseudo_labels import pseudo_labels_of
from classification.tricks.test_time_views import TestTimeViews

IMAGENET_IMAGES = 1_281_167
_VALIDATIONS = 20
_SIZE = 224
_SMALLEST_DECAY = 1e-6  # on a very short run nothing is left of the average but the last weights


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What one pretraining does on one data set.

    recipe: its epochs stay in the recipe's own units, so that warmup and milestones keep their
    share of the run. steps: optimizer steps, each of `accumulation` batches of `batch_size`
    images. learning_rate_scale: factor on the optimizer's learning rate. ema_decay: of the
    averaged weights, per step. train_size: side of the training images in pixels; eval_size and
    resize_size: of the central crop, and of the shorter side before it. validation_interval: in
    steps, of early stopping and the best weights; patience in validations, of early stopping; None
    without them.
    """

    recipe: Recipe
    steps: int
    batch_size: int
    accumulation: int
    learning_rate_scale: float
    ema_decay: float | None
    train_size: int
    eval_size: int
    resize_size: int
    validation_interval: int | None = None
    patience: int | None = None

    def frozen_stages(self, step: int) -> int:
        """How far the backbone is frozen at an optimizer step, as `Tuning` counts it."""
        return self.recipe.tuning.frozen_stages(self.recipe.total_epochs * step / self.steps)

    def learning_rate_factor(self, step: float) -> float:
        """The schedule's factor at a step in [0, steps]."""
        return learning_rate_factor(
            self.recipe.total_epochs * step / self.steps,
            schedule=self.recipe.schedule,
            warmup_epochs=self.recipe.warmup_epochs,
            warmup_start=self.recipe.warmup_start,
            epochs=self.recipe.epochs,
        )


def training_plan(
    recipe: Recipe, budget: ScaledBudget, images: int, *, architecture: str
) -> TrainingPlan:
    """The recipe's epochs, batch size and learning rate, each times the budget's scale.

    images: of the training set, labelled ones: an epoch is one pass over them. Raises ValueError
    where the recipe contradicts itself, the benchmark shrinks the images to less than they are
    trained on, or a scale of the test-time views is too small for the evaluated crop.
    """
    recipe.schedule.check(epochs=recipe.epochs)
    recipe.tuning.check(epochs=recipe.epochs)
    batch_size = max(2, round(recipe.batch_size * budget.batch_size_scale))
    epochs = recipe.total_epochs * budget.epoch_scale
    micro_batch = _micro_batch(recipe, batch_size)
    # Of the images that a step takes: its parts are whole.
    trick = pseudo_labels_of(recipe)
    labelled = 1.0 if trick is None else 1 - trick.of_batch(micro_batch) / micro_batch
    steps = max(1, round(epochs * images / (micro_batch * recipe.accumulation * labelled)))
    eval_size, resize_size = evaluation_sizes(recipe, budget, architecture)
    for each in recipe.tricks:
        if isinstance(each, TestTimeViews):  # now, and not after the training
            each.check(size=eval_size, resize_size=resize_size)
    train_size = max(8, round(eval_size * recipe.train_size_scale))
    if isinstance(budget, PretrainingBudget) and 0 < budget.shrink_to < train_size:
        raise ValueError(
            f"{architecture} is trained on {train_size} pixels, and shrink_to leaves "
            f"{budget.shrink_to} of the shorter side: let it be at least {train_size}, or 0"
        )
    interval, patience = _validations(recipe, steps)
    return TrainingPlan(
        recipe=recipe,
        steps=steps,
        batch_size=micro_batch,
        accumulation=recipe.accumulation,
        learning_rate_scale=budget.learning_rate_scale,
        ema_decay=_ema_decay(recipe, steps),
        train_size=train_size,
        eval_size=eval_size,
        resize_size=resize_size,
        validation_interval=interval,
        patience=patience,
    )


def evaluation_sizes(recipe: Recipe, budget: ScaledBudget, architecture: str) -> tuple[int, int]:
    """Side of the evaluated crop, and of the shorter side before it, in pixels.

    A network of ours that is made for other images than 224 pixels gets the benchmark's in its
    own proportion: Inception-V3 299 where others get 224.
    """
    scale = NATIVE_SIZES.get(architecture, _SIZE) / _SIZE
    size = round(budget.image_size * scale)
    if recipe.evaluation_crop is not None:
        return size, round(size / recipe.evaluation_crop)
    return size, round(budget.resize_size * scale)


def _micro_batch(recipe: Recipe, batch_size: int) -> int:
    if batch_size // recipe.accumulation < 2:
        raise ValueError(
            f"a batch of {batch_size} images in {recipe.accumulation} parts leaves fewer than 2 "
            "images for a part, too few for batch normalization: accumulate fewer"
        )
    return round(batch_size / recipe.accumulation)


def _ema_decay(recipe: Recipe, steps: int) -> float | None:
    """The average spans the same share of the run as it does on ImageNet."""
    if recipe.ema_decay is None:
        return None
    on_imagenet = recipe.total_epochs * IMAGENET_IMAGES / recipe.batch_size
    return max(_SMALLEST_DECAY, math.pow(recipe.ema_decay, on_imagenet / steps))


def _validations(recipe: Recipe, steps: int) -> tuple[int | None, int | None]:
    """Early stopping looks after every epoch of the recipe, but not more than 20 times a run; so
    does who looks for the best weights."""
    if recipe.early_stopping is None and not recipe.tuning.best_weights:
        return None, None
    per_epoch = steps / recipe.total_epochs
    interval = max(1, math.ceil(per_epoch), math.ceil(steps / _VALIDATIONS))
    if recipe.early_stopping is None:
        return interval, None
    return interval, max(1, round(recipe.early_stopping * per_epoch / interval))
