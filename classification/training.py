"""One pretraining: the data, the model and the optimizer of a plan under one runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader

from backbones.artifact import load_artifact, load_head
from backbones.base import Backbone
from backbones.card import read_card
from backbones.create import create_backbone
from backbones.initialization import initialize
from backbones.preprocessing import IMAGENET_PAPER
from benchmarks.schema import PretrainingBudget
from classification.budget import TrainingPlan
from classification.data import Normalizer, TrainingImages, ValidationImages
from classification.model import Classifier, TopKAccuracy, TrainedClassifier
from classification.recipe import Recipe
from engine.precision import half_precision, optim_wrapper
from engine.randomness import seed_globally
from engine.runner import QuietRunner, build_runner, train_loader


class LearningRate(Hook):
    """Sets each step's learning rate from the plan's closed form: no state to save or resume."""

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan

    def before_train(self, runner: Any) -> None:
        groups = runner.optim_wrapper.optimizer.param_groups
        for group in groups:
            # Kept in the group, so that a resumed run does not take a decayed rate for the base.
            group.setdefault("base_lr", group["lr"])

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        factor = self.plan.learning_rate_factor(batch_idx)
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor


def build_classifier(
    architecture: str, recipe: Recipe, *, width: float, num_classes: int, seed: int
) -> Classifier:
    """The paper's initialization, then what the recipe's tricks change of it."""
    seed_globally([seed])
    backbone = create_backbone(architecture, width=width)
    initialize(backbone, seed=seed)
    classifier = Classifier(backbone, num_classes)
    for trick in recipe.tricks:
        trick.initialize(backbone)
    return classifier


def load_teacher(directory: Path, *, num_classes: int) -> Classifier:
    """The classifier of an artifact. Raises ValueError where it knows other classes."""
    head = load_head(directory)
    if len(head["bias"]) != num_classes:
        raise ValueError(
            f"the teacher {directory} has {len(head['bias'])} classes, the data set {num_classes}"
        )
    teacher = Classifier(load_artifact(directory), num_classes)
    teacher.head.load_state_dict(head)
    return teacher


def build_training(
    plan: TrainingPlan,
    budget: PretrainingBudget,
    *,
    label: str,
    architecture: str,
    width: float,
    seed: int,
    train: list[tuple[Path, int]],
    val: list[tuple[Path, int]],
    num_classes: int,
    work_dir: Path,
    teacher: Path | None = None,
) -> tuple[QuietRunner, Classifier, str]:
    """The runner, the classifier that it trains, and the precision of its steps."""
    recipe = plan.recipe
    precision = half_precision() if recipe.half_precision else "float32"
    channels_last = precision != "float32"
    classifier = build_classifier(
        architecture, recipe, width=width, num_classes=num_classes, seed=seed
    )
    taught_by = None if teacher is None else load_teacher(teacher, num_classes=num_classes)
    if channels_last:
        classifier.to(memory_format=torch.channels_last)
    preprocessing = IMAGENET_PAPER if teacher is None else read_card(teacher).preprocessing
    if preprocessing != IMAGENET_PAPER:
        raise ValueError(
            f"the teacher {teacher} was trained on other mean and std: {preprocessing}"
        )
    model = TrainedClassifier(
        classifier,
        recipe,
        num_classes=num_classes,
        normalizer=Normalizer(preprocessing, channels_last=channels_last),
        teacher=taught_by,
    )

    def decays(parameter: nn.Parameter) -> bool:
        return all(trick.decays(parameter) for trick in recipe.tricks)

    runner = build_runner(
        label=label,
        model=model,
        loader=train_loader(
            TrainingImages(
                train, size=budget.image_size, augmentation=recipe.augmentation, seed=seed
            ),
            batch_size=plan.batch_size,
            seed=seed,
            workers=budget.workers,
        ),
        steps=plan.steps,
        optim_wrapper=optim_wrapper(
            recipe.optimizer.build(classifier, decays=decays, lr_scale=plan.learning_rate_scale),
            precision=precision,
        ),
        val_loader=DataLoader(
            ValidationImages(val, size=budget.image_size, resize_size=budget.resize_size),
            batch_size=min(256, plan.batch_size * 2),
            num_workers=min(1, budget.workers),
        ),
        val_metric=TopKAccuracy(num_classes),
        work_dir=work_dir,
        seed=seed,
        hooks=[LearningRate(plan)],
    )
    return runner, classifier, precision


def example_images(
    val: list[tuple[Path, int]], budget: PretrainingBudget, count: int = 2
) -> torch.Tensor:
    """A few normalized validation images (B, 3, H, W), to check an export on."""
    data = ValidationImages(val[:count], size=budget.image_size, resize_size=budget.resize_size)
    images = torch.stack([data[i]["images"] for i in range(len(data))])
    labels = torch.zeros(len(images), dtype=torch.long)
    normalizer = Normalizer(IMAGENET_PAPER, channels_last=False)
    return normalizer({"images": images, "labels": labels})["images"]


def exported(classifier: Classifier) -> tuple[Backbone, dict[str, torch.Tensor]]:
    """The backbone as it is exported, and the head's tensors."""
    backbone = classifier.backbone.to(memory_format=torch.contiguous_format).eval()
    return backbone, dict(classifier.head.state_dict())
