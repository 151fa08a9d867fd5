"""One pretraining: the data, the model and the optimizer of a plan under one runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from backbones.base import Backbone
from backbones.create import create_backbone
from backbones.initialization import initialize
from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from classification.budget import TrainingPlan
from classification.data import Normalizer, TrainingImages, ValidationImages, ready_batch
from classification.half_format import HalfFormat, half_format_of
from classification.metric import AnswerMetric
from classification.model import Classifier, TrainedClassifier, mixes_batches
from classification.recipe import Recipe
from classification.teacher import load_teacher
from engine.distributed import BatchNorm
from engine.early_stopping import StopEarly
from engine.fast_paths import is_fast
from engine.loaders import evaluation_loader, train_loader
from engine.micro_batches import MicroBatches
from engine.precision import Precision, optim_wrapper
from engine.processes import tell
from engine.randomness import seed_globally
from engine.runner import QuietRunner, build_runner


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
        factor = self.plan.learning_rate_factor(batch_idx // self.plan.accumulation)
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor


@dataclass(frozen=True, kw_only=True)
class Training:
    """metric: of the validations. precision: of the steps; notes: what a reader of the result
    should know."""

    runner: QuietRunner
    classifier: Classifier
    metric: AnswerMetric
    precision: Precision
    notes: tuple[str, ...]


def build_classifier(
    architecture: str, recipe: Recipe, *, width: float, num_classes: int, seed: int
) -> tuple[Classifier, tuple[str, ...]]:
    """The paper's initialization (timm's models keep their own), then what the tricks change.

    Gives the tricks' remarks as well: where one has nothing to change in this network.
    """
    seed_globally([seed])
    foreign = ":" in architecture
    backbone = create_backbone(architecture, width=1.0 if foreign else width)
    if not foreign:
        initialize(backbone, seed=seed)
    classifier = Classifier(backbone, num_classes, dropout=recipe.dropout)
    remarks = [trick.initialize(classifier, seed=seed) for trick in recipe.acting]
    return classifier, tuple(remark for remark in remarks if remark is not None)


def build_training(
    plan: TrainingPlan,
    *,
    label: str,
    architecture: str,
    width: float,
    seed: int,
    train: Sequence[tuple[Path, int]],
    val: Sequence[tuple[Path, int]],
    num_classes: int,
    workers: int,
    work_dir: Path,
    teacher: str | None = None,
    auto_accumulate: bool = False,
    batch_norm: BatchNorm = "per_process",
) -> Training:
    """Everything that one pretraining needs, built in the one order that makes it repeatable.

    train, val: image files and their classes. teacher: as `classification.teacher.load_teacher`
    takes it. auto_accumulate: a batch that does not fit into memory is computed in parts.
    batch_norm: of several processes, whether it sees the batch or one process's share.
    """
    recipe = plan.recipe
    half, precision = _formats(recipe, teacher, work_dir)
    channels_last = recipe.channels_last or is_fast("channels_last")
    classifier, notes = build_classifier(
        architecture, recipe, width=width, num_classes=num_classes, seed=seed
    )
    if half is not None and half.remark is not None:
        notes += (half.remark,)
    for note in notes:
        tell(f"{label}: {note}")
    if channels_last:
        classifier.to(memory_format=torch.channels_last)
    preprocessing = preprocessing_of(recipe)
    taught_by = None
    if teacher is not None and half is not None:
        taught_by = load_teacher(
            teacher, num_classes=num_classes, student=preprocessing, half=half.precision
        )
    model = TrainedClassifier(
        classifier,
        recipe,
        num_classes=num_classes,
        normalizer=Normalizer(
            preprocessing, channels_last=channels_last, of_all=mixes_batches(recipe)
        ),
        teacher=taught_by,
    )
    if recipe.compile:
        classifier.compile()

    def decays(parameter: nn.Parameter) -> bool:
        return all(trick.decays(parameter) for trick in recipe.acting)

    metric = AnswerMetric(num_classes)
    clip = None if recipe.gradient_clip is None else {"max_norm": recipe.gradient_clip}
    hooks: list[Hook] = [LearningRate(plan)]
    if plan.patience is not None:
        hooks.append(StopEarly(patience=plan.patience, metric="top1"))
    runner = build_runner(
        label=label,
        model=model,
        loader=train_loader(
            TrainingImages(
                train, size=plan.train_size, recipe=recipe, seed=seed, num_classes=num_classes
            ),
            batch_size=plan.batch_size,
            seed=seed,
            workers=workers,
            repeats=recipe.repeats,
            collate=ready_batch,
        ),
        steps=plan.steps * plan.accumulation,
        optim_wrapper=optim_wrapper(
            recipe.optimizer.build(classifier, decays=decays, lr_scale=plan.learning_rate_scale),
            precision=precision,
            loss_scale=recipe.loss_scale,
            accumulate=plan.accumulation,
            clip_grad=clip,
        ),
        val_loader=evaluation_loader(
            validation_images(val, plan),
            batch_size=min(256, plan.batch_size * plan.accumulation * 2),
            workers=min(1, workers),
            collate=ready_batch,
        ),
        val_metric=metric,
        val_interval=None if plan.validation_interval is None else _micro_steps(plan),
        work_dir=work_dir,
        seed=seed,
        ema_decay=plan.ema_decay,
        micro_batches=MicroBatches(
            auto=auto_accumulate,
            smallest=2,  # fewer are too few for batch normalization
            setting="batch_size_scale in [pretraining] of the benchmark file",
        ),
        hooks=hooks,
        workers_setting="workers in [pretraining] of the benchmark file",
        choices=None if half is None else half.choices,
        batch_norm=batch_norm,
    )
    if half is not None:
        runner.logger.info(f"half precision: {half.precision} ({half.why})")
    return Training(
        runner=runner, classifier=classifier, metric=metric, precision=precision, notes=notes
    )


def _formats(
    recipe: Recipe, teacher: str | None, work_dir: Path
) -> tuple[HalfFormat | None, Precision]:
    """What `half` means in this training, where it or its teacher asks, and the steps' format."""
    if recipe.precision != "half":
        return None if teacher is None else half_format_of(work_dir), recipe.precision
    half = half_format_of(work_dir)
    return half, half.precision


def _micro_steps(plan: TrainingPlan) -> int:
    assert plan.validation_interval is not None
    return plan.validation_interval * plan.accumulation


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """The paper's mean and std; bicubic where the recipe resizes so."""
    if recipe.augmentation.interpolation == "bicubic":
        return Preprocessing(
            mean=IMAGENET_PAPER.mean, std=IMAGENET_PAPER.std, interpolation="bicubic"
        )
    return IMAGENET_PAPER


def validation_images(val: Sequence[tuple[Path, int]], plan: TrainingPlan) -> ValidationImages:
    return ValidationImages(
        val,
        size=plan.eval_size,
        resize_size=plan.resize_size,
        interpolation=plan.recipe.augmentation.interpolation,
    )


def example_images(
    val: Sequence[tuple[Path, int]], plan: TrainingPlan, count: int = 2
) -> torch.Tensor:
    """A few normalized validation images (B, 3, H, W), to check an export on."""
    data = validation_images(val[:count], plan)
    images = torch.stack([data[i]["images"] for i in range(len(data))])
    labels = torch.zeros(len(images), dtype=torch.long)
    normalizer = Normalizer(preprocessing_of(plan.recipe), channels_last=False)
    normalized: torch.Tensor = normalizer({"images": images, "labels": labels})["images"]
    return normalized


def exported(classifier: Classifier) -> tuple[Backbone, dict[str, torch.Tensor]]:
    """The backbone as it is exported, and the head's tensors."""
    backbone = classifier.backbone.to(memory_format=torch.contiguous_format).eval()
    return backbone, dict(classifier.head.state_dict())
