"""The images of a training: as its steps get them, and as its validations do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from backbones.preprocessing import Preprocessing
from classification.budget import TrainingPlan
from classification.data import TrainingImages, ValidationImages, ready_batch
from classification.feature_cache import CachedFeatures, FillFeatures, trains_on_features
from classification.model import Classifier
from classification.pseudo_labels import PseudoImages
from classification.recipe import Recipe
from engine.loaders import evaluation_loader, train_loader
from engine.mixed_stream import SecondPart

Samples = Sequence[tuple[Path, int]]


@dataclass(frozen=True, kw_only=True)
class TrainingLoaders:
    """fill: the hook that both need where a frozen backbone's features stand for the images."""

    train: DataLoader[Any]
    val: DataLoader[Any]
    fill: FillFeatures | None


def training_loaders(
    plan: TrainingPlan,
    recipe: Recipe,
    preprocessing: Preprocessing,
    classifier: Classifier,
    *,
    train: Samples,
    val: Samples,
    pseudo: PseudoImages | None,
    num_classes: int,
    seed: int,
    workers: int,
    work_dir: Path,
    label: str,
) -> TrainingLoaders:
    """recipe: the plan's, with the interpolation of the preprocessing. The others as
    `classification.training.build_training` takes them."""
    images = TrainingImages(
        train if pseudo is None else [*train, *pseudo.samples],
        size=plan.train_size,
        recipe=recipe,
        seed=seed,
        num_classes=num_classes,
        representation=preprocessing.representation,
        soft=None if pseudo is None else pseudo.targets,
    )
    val_images = validation_images(val, plan, preprocessing)
    features, val_features, fill = None, None, None
    if recipe.tuning.head_only:
        if trains_on_features(recipe):
            features = CachedFeatures(images, work_dir / "training_features.npy")
        val_features = CachedFeatures(val_images, work_dir / "validation_features.npy")
        fill = FillFeatures(
            classifier, train=features, val=val_features, workers=workers, label=label
        )
    return TrainingLoaders(
        train=train_loader(
            images if features is None else features,
            batch_size=plan.batch_size,
            seed=seed,
            workers=workers if features is None else 0,
            repeats=recipe.repeats,
            collate=ready_batch,
            second=_second_part(pseudo),
        ),
        val=evaluation_loader(
            val_images if val_features is None else val_features,
            batch_size=min(256, plan.batch_size * plan.accumulation * 2),
            workers=min(1, workers) if val_features is None else 0,
            collate=ready_batch,
        ),
        fill=fill,
    )


def _second_part(pseudo: PseudoImages | None) -> SecondPart | None:
    if pseudo is None:
        return None
    return SecondPart(images=len(pseudo.samples), of_batch=pseudo.of_batch)


def validation_images(
    val: Samples, plan: TrainingPlan, preprocessing: Preprocessing
) -> ValidationImages:
    return ValidationImages(
        val,
        size=plan.eval_size,
        resize_size=plan.resize_size,
        interpolation=preprocessing.interpolation,
        representation=preprocessing.representation,
    )
