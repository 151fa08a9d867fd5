"""The training of a Faster R-CNN on an artifact's backbone: model, data, metric and schedule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmdet.registry import MODELS

from backbones.card import Card
from benchmarks.schema import DetectionBudget
from detection.data import test_data, training_data
from detection.metric import DetectionMetric
from detection.model import detector_config, parameter_schedule
from engine.finetuning import finetuning_runner
from engine.randomness import seed_globally

if TYPE_CHECKING:
    from engine.runner import QuietRunner


def detection_training(
    artifact: Path,
    card: Card,
    budget: DetectionBudget,
    *,
    label: str,
    seed: int,
    work_dir: Path,
    auto_accumulate: bool = False,
) -> QuietRunner:
    """A runner that trains for the budget's iterations and tests once, with the last weights.

    Raises ValueError where the backbone's levels are not those that the FPN pools from.
    """
    seed_globally([seed])  # some heads draw their weights when they are built
    interpolation = card.preprocessing.interpolation
    return finetuning_runner(
        label=label,
        stage="detection",
        scope="mmdet",
        model=MODELS.build(detector_config(artifact, card, budget)),
        training=training_data(budget, interpolation=interpolation, seed=seed),
        test=test_data(budget, interpolation=interpolation),
        metric=DetectionMetric(budget.metric, len(budget.classes)),
        steps=budget.iterations,
        learning_rate=budget.learning_rate,
        weight_decay=budget.weight_decay,
        gradient_clip=budget.gradient_clip,
        schedule=parameter_schedule(budget),
        seed=seed,
        work_dir=work_dir,
        auto_accumulate=auto_accumulate,
        channels_last=True,  # the FCN gains nothing by it
    )
