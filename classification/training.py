"""One pretraining: the data, the model and the optimizer of a plan under one runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from backbones.artifact import load_artifact
from backbones.base import Backbone
from backbones.create import create_backbone
from backbones.initialization import initialize
from backbones.input_channels import set_input_channels
from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from classification.budget import TrainingPlan
from classification.data import Normalizer
from classification.feature_cache import FillFeatures
from classification.find_learning_rate import FindLearningRate
from classification.half_format import HalfFormat, half_format_of
from classification.metric import AnswerMetric
from classification.model import Classifier, TrainedClassifier, mixes_batches
from classification.pseudo_labels import PseudoImages
from classification.recipe import Recipe
from classification.teacher import load_teacher
from classification.training_loaders import training_loaders, validation_images
from classification.tricks.found_learning_rate import range_test_of
from classification.tuning import STAGES, Tuning
from classification.unfreezing import Unfreezing
from engine.best_weights import KeepBest
from engine.distributed import BatchNorm
from engine.early_stopping import StopEarly
from engine.fast_paths import is_fast
from engine.micro_batches import MicroBatches
from engine.precision import Precision, optim_wrapper
from engine.processes import tell, world_size
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
    should know. preprocessing: of the images, the backbone's own where it started from weights."""

    runner: QuietRunner
    classifier: Classifier
    metric: AnswerMetric
    precision: Precision
    notes: tuple[str, ...]
    preprocessing: Preprocessing


def build_classifier(
    architecture: str,
    recipe: Recipe,
    *,
    width: float,
    num_classes: int,
    seed: int,
    start: Path | None = None,
) -> tuple[Classifier, tuple[str, ...]]:
    """The paper's initialization (timm's models keep their own), then what the tricks change.

    start: an artifact whose backbone is taken instead, of its own architecture and width. The
    head on it begins with zeros (Dosovitskiy et al. 2021, ViT, arXiv:2010.11929, section 3.2): one
    that is drawn is sure of nonsense where features are large, and teaches the backbone that first.
    Gives the tricks' remarks as well: where one has nothing to change in this network.
    """
    seed_globally([seed])
    if start is not None:
        backbone = load_artifact(start)
    else:
        foreign = ":" in architecture
        backbone = create_backbone(architecture, width=1.0 if foreign else width)
        if not foreign:
            initialize(backbone, seed=seed)
    tuning = recipe.tuning
    classifier = Classifier(
        backbone,
        num_classes,
        dropout=recipe.dropout,
        hidden=tuning.hidden,
        hidden_dropout=tuning.hidden_dropout,
    )
    if start is not None:
        nn.init.zeros_(classifier.head.weight)
    remarks = [trick.initialize(classifier, seed=seed) for trick in recipe.acting]
    if recipe.representation is not None:
        set_input_channels(backbone, recipe.representation.channels)
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
    start: Path | None = None,
    table: str = "pretraining",
    pseudo: PseudoImages | None = None,
) -> Training:
    """Everything that one training needs, built in the one order that makes it repeatable.

    train, val: image files and their classes. start: an artifact, whose backbone is trained on
    under a new head, on images that are preprocessed as it is used to; architecture and width are
    then its own. table: of the benchmark file, for what is said to the user. teacher: as
    `classification.teacher.load_teacher` takes it. auto_accumulate: a batch that does not fit into
    memory is computed in parts. batch_norm: of several processes, whether it sees the batch or one
    process's share. pseudo: images under a teacher's labels, of which each batch has its share.
    """
    half, precision = _formats(plan.recipe, teacher, work_dir)
    classifier, notes = build_classifier(
        architecture, plan.recipe, width=width, num_classes=num_classes, seed=seed, start=start
    )
    notes += () if half is None or half.remark is None else (half.remark,)
    for note in notes:
        tell(f"{label}: {note}")
    recipe, preprocessing = _shown(plan.recipe, classifier, trained=start is not None)
    model = _model(
        classifier, recipe, preprocessing, num_classes=num_classes, teacher=teacher, half=half
    )
    _freeze(classifier, recipe.tuning)
    loaders = training_loaders(
        plan,
        recipe,
        preprocessing,
        classifier,
        train=train,
        val=val,
        pseudo=pseudo,
        num_classes=num_classes,
        seed=seed,
        workers=workers,
        work_dir=work_dir,
        label=label,
    )
    hooks = _hooks(plan, recipe, classifier, loaders.fill, label)
    if range_test_of(recipe) is not None:
        hooks.append(FindLearningRate(plan, seed=seed, work_dir=work_dir, label=label))
    metric = AnswerMetric(num_classes)
    runner = build_runner(
        label=label,
        model=model,
        loader=loaders.train,
        steps=plan.steps * plan.accumulation,
        optim_wrapper=_optim_wrapper(plan, recipe, classifier, precision),
        val_loader=loaders.val,
        val_metric=metric,
        val_interval=None if plan.validation_interval is None else _micro_steps(plan),
        work_dir=work_dir,
        seed=seed,
        ema_decay=plan.ema_decay,
        micro_batches=MicroBatches(
            auto=auto_accumulate,
            smallest=2,  # fewer are too few for batch normalization
            setting=f"batch_size_scale in [{table}] of the benchmark file",
        ),
        hooks=hooks,
        workers_setting=f"workers in [{table}] of the benchmark file",
        choices=None if half is None else half.choices,
        batch_norm=batch_norm,
    )
    if half is not None:
        runner.logger.info(f"half precision: {half.precision} ({half.why})")
    return Training(
        runner=runner,
        classifier=classifier,
        metric=metric,
        precision=precision,
        notes=notes,
        preprocessing=preprocessing,
    )


def _shown(
    recipe: Recipe, classifier: Classifier, *, trained: bool
) -> tuple[Recipe, Preprocessing]:
    """How images are shown: as the recipe says, or as a trained backbone is used to."""
    if not trained:
        return recipe, preprocessing_of(recipe)
    preprocessing = classifier.backbone.preprocessing.represented(recipe.representation)
    return resized_as(recipe, preprocessing), preprocessing


def _model(
    classifier: Classifier,
    recipe: Recipe,
    preprocessing: Preprocessing,
    *,
    num_classes: int,
    teacher: str | None,
    half: HalfFormat | None,
) -> TrainedClassifier:
    """The classifier with its losses and its teacher, in the layout that is fast here."""
    channels_last = recipe.channels_last or is_fast("channels_last")
    if channels_last:
        classifier.to(memory_format=torch.channels_last)
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
    return model


def _freeze(classifier: Classifier, tuning: Tuning) -> None:
    """What learns at no step; raises ValueError where stages are to thaw in several processes."""
    if tuning.unfreeze_epochs is not None and world_size() > 1:
        raise ValueError(
            f"gradual_unfreezing trains in one process, and there are {world_size()}: start one, "
            "or take the trick away"
        )
    if tuning.head_only:
        classifier.freeze(STAGES)


def _hooks(
    plan: TrainingPlan,
    recipe: Recipe,
    classifier: Classifier,
    fill: FillFeatures | None,
    label: str,
) -> list[Hook]:
    """fill: what computes the features that are trained on, before the first step. label: names the
    training on the screen."""
    hooks: list[Hook] = [LearningRate(plan)]
    if recipe.tuning.unfreeze_epochs is not None:
        hooks.append(Unfreezing(classifier, plan))
    if recipe.tuning.best_weights:
        hooks.append(KeepBest(metric="top1", label=label))
    if plan.patience is not None:
        hooks.append(StopEarly(patience=plan.patience, metric="top1"))
    if fill is not None:
        hooks.append(fill)
    return hooks


def _optim_wrapper(
    plan: TrainingPlan, recipe: Recipe, classifier: Classifier, precision: Precision
) -> dict[str, Any]:
    tuning = recipe.tuning
    parts = None
    if tuning.layer_decay < 1 or tuning.unfreeze_epochs is not None:
        parts = list(zip(tuning.learning_rate_scales(), classifier.parts(), strict=True))

    def decays(parameter: nn.Parameter) -> bool:
        return all(trick.decays(parameter) for trick in recipe.acting)

    return optim_wrapper(
        recipe.optimizer.build(
            classifier, decays=decays, lr_scale=plan.learning_rate_scale, parts=parts
        ),
        precision=precision,
        loss_scale=recipe.loss_scale,
        accumulate=plan.accumulation,
        clip_grad=None if recipe.gradient_clip is None else {"max_norm": recipe.gradient_clip},
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
    """The paper's mean and std, with the recipe's interpolation and representation."""
    plain = replace(IMAGENET_PAPER, interpolation=recipe.augmentation.interpolation)
    return plain.represented(recipe.representation)


def resized_as(recipe: Recipe, preprocessing: Preprocessing) -> Recipe:
    """The recipe with the interpolation that a backbone is used to."""
    augmentation = replace(recipe.augmentation, interpolation=preprocessing.interpolation)
    return replace(recipe, augmentation=augmentation)


def example_images(
    val: Sequence[tuple[Path, int]],
    plan: TrainingPlan,
    preprocessing: Preprocessing,
    count: int = 2,
) -> torch.Tensor:
    """A few normalized validation images (B, C, H, W), to check an export on."""
    data = validation_images(val[:count], plan, preprocessing)
    images = torch.stack([data[i]["images"] for i in range(len(data))])
    labels = torch.zeros(len(images), dtype=torch.long)
    normalizer = Normalizer(preprocessing, channels_last=False)
    normalized: torch.Tensor = normalizer({"images": images, "labels": labels})["images"]
    return normalized


def exported(classifier: Classifier) -> tuple[Backbone, dict[str, torch.Tensor]]:
    """The backbone as it is exported, and the head's tensors."""
    backbone = classifier.backbone.to(memory_format=torch.contiguous_format).eval()
    return backbone, dict(classifier.head.state_dict())
