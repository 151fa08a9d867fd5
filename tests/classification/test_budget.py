"""A recipe's epochs, batch size and learning rate on a benchmark's images, by arithmetic."""

from __future__ import annotations

import math

import pytest

from benchmarks.schema import PretrainingBudget, load_benchmark
from classification.budget import TrainingPlan, training_plan
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import EMA, CosineDecay, GradientAccumulation, PseudoLabels, Warmup

IMAGENET_IMAGES = 1_281_167


def budget(**scales: float) -> PretrainingBudget:
    return PretrainingBudget(root="/nowhere", **scales)


def planned(
    recipe: Recipe, budget: PretrainingBudget, images: int, architecture: str = "resnet50d"
) -> TrainingPlan:
    return training_plan(recipe, budget, images, architecture=architecture)


@pytest.mark.parametrize(
    ("recipe", "batch_size", "steps", "peak"),
    [
        ("standard", 256, 600_547, 0.1),  # 120 * 1,281,167 / 256 = 600,547.03
        ("cosine", 1024, 150_137, 0.4),  # 120 * 1,281,167 / 1024 = 150,136.76
        ("mixup", 1024, 250_228, 0.4),  # 200 * 1,281,167 / 1024 = 250,227.93
    ],
)
def test_the_papers_numbers_on_imagenet(
    recipe: str, batch_size: int, steps: int, peak: float
) -> None:
    paper = load_benchmark("paper").pretraining
    plan = planned(RECIPES[recipe], paper, IMAGENET_IMAGES)
    assert (plan.batch_size, plan.steps) == (batch_size, steps)
    base = plan.recipe.optimizer.learning_rate * plan.learning_rate_scale
    factors = [plan.learning_rate_factor(step) for step in range(0, steps, 97)]
    assert base == pytest.approx(peak)
    assert max(factors) == pytest.approx(1.0, abs=1e-4)


def test_scales_by_hand() -> None:
    # 120 epochs * 0.05 = 6 passes over 1,000 images in batches of 256 / 8 = 32: 187.5 steps.
    plan = planned(
        Recipe(), budget(epoch_scale=0.05, batch_size_scale=0.125, learning_rate_scale=0.5), 1000
    )
    assert (plan.batch_size, plan.steps, plan.learning_rate_scale) == (32, 188, 0.5)


@pytest.mark.parametrize(("share", "of_batch"), [(0.5, 4), (0.75, 5), (0.1, 1), (0.95, 6)])
def test_pseudo_labels_leave_the_labelled_images_as_many_passes(
    share: float, of_batch: int
) -> None:
    """Of a batch of 7 a whole number is pseudo-labelled, whatever the share: 10 passes of 420."""
    recipe = Recipe(epochs=10, batch_size=7) | CosineDecay() | PseudoLabels(share=share)
    plan = planned(recipe, budget(), 420)
    assert plan.steps * (7 - of_batch) == pytest.approx(10 * 420, abs=7)


def test_warmup_and_decay_keep_their_share_of_a_shorter_run() -> None:
    recipe = Recipe(epochs=100) | Warmup(epochs=10) | CosineDecay()
    plan = planned(recipe, budget(epoch_scale=0.1, batch_size_scale=1 / 256 * 10), 1000)
    assert (plan.steps, plan.batch_size) == (1000, 10)
    assert [plan.learning_rate_factor(step) for step in (0, 50, 100)] == pytest.approx([0, 0.5, 1])
    # A third of the way from the warmup's end: 0.5 (1 + cos(pi / 3)).
    assert plan.learning_rate_factor(400) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))
    assert plan.learning_rate_factor(1000) == pytest.approx(0.0)


def test_milestones_keep_their_share_of_a_shorter_run() -> None:
    plan = planned(Recipe(), budget(epoch_scale=0.1, batch_size_scale=0.0390625), 100)
    assert (plan.steps, plan.batch_size) == (120, 10)
    factors = [plan.learning_rate_factor(step) for step in (0, 29, 30, 59, 60, 89, 90, 119)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_a_batch_in_parts_sees_as_many_images() -> None:
    # 16 images in 3 parts are 5 each: steps of 15 images, and 1,200 / 15 of them.
    recipe = Recipe(batch_size=256, epochs=120) | GradientAccumulation(3)
    plan = planned(recipe, budget(epoch_scale=0.1, batch_size_scale=0.0625), 100)
    assert (plan.batch_size, plan.accumulation, plan.steps) == (5, 3, 80)
    with pytest.raises(ValueError, match="accumulate fewer"):
        planned(Recipe() | GradientAccumulation(10), budget(batch_size_scale=0.0625), 100)


def test_an_average_over_more_than_the_run_stays_an_average() -> None:
    plan = planned(Recipe() | EMA(0.9), budget(epoch_scale=1e-4, batch_size_scale=1 / 32), 100)
    assert plan.ema_decay is not None
    assert 0 < plan.ema_decay < 1


def test_images_are_not_shrunk_to_less_than_an_architecture_is_trained_on() -> None:
    small = budget(shrink_to=256)
    assert planned(Recipe(), small, 24).train_size == 224
    with pytest.raises(ValueError, match=r"inception_v3 is trained on 299 pixels.*at least 299"):
        planned(Recipe(), small, 24, architecture="inception_v3")


def test_the_smallest_budget_still_trains() -> None:
    plan = planned(Recipe(), budget(epoch_scale=1e-6, batch_size_scale=1e-6), 24)
    assert (plan.steps, plan.batch_size) == (1, 2)
