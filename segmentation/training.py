"""The training of an FCN on an artifact's backbone: model, data, metric and schedule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmseg.registry import MODELS

from backbones.card import Card
from benchmarks.schema import SegmentationBudget
from engine.finetuning import finetuning_runner
from engine.randomness import seed_globally
from segmentation.data import sample_paths, test_data, training_data
from segmentation.metric import SegmentationMetric
from segmentation.model import parameter_schedule, segmentor_config

if TYPE_CHECKING:
    from engine.runner import QuietRunner


def segmentation_training(
    artifact: Path,
    card: Card,
    budget: SegmentationBudget,
    *,
    label: str,
    seed: int,
    work_dir: Path,
    auto_accumulate: bool = False,
) -> QuietRunner:
    """A runner that trains for the budget's iterations and tests once, with the last weights."""
    seed_globally([seed])  # some heads draw their weights when they are built
    interpolation = card.preprocessing.interpolation
    test = test_data(budget, interpolation=interpolation)
    return finetuning_runner(
        label=label,
        stage="segmentation",
        scope="mmseg",
        model=MODELS.build(segmentor_config(artifact, card, budget)),
        training=training_data(budget, interpolation=interpolation, seed=seed),
        test=test,
        metric=SegmentationMetric(samples=sample_paths(test.dataset, budget.root)),
        steps=budget.iterations,
        learning_rate=budget.learning_rate,
        weight_decay=budget.weight_decay,
        schedule=parameter_schedule(budget),
        seed=seed,
        work_dir=work_dir,
        auto_accumulate=auto_accumulate,
    )
