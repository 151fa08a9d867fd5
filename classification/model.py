"""The classifier (backbone, global average pooling, linear layer) and how a recipe trains it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from backbones.artifact import load_artifact, load_head
from backbones.base import Backbone
from classification.recipe import Recipe
from classification.tricks.binary_cross_entropy import binary_cross_entropy
from classification.tricks.trick import Trick
from engine.shared_batch import share

AUXILIARY_WEIGHT = 0.4
"""Of Inception-V3's second loss, as in TF-Slim's and torchvision's reference training."""

Outputs = Tensor | tuple[Tensor, Tensor]
"""Logits (B, K); in the training of a network with an auxiliary classifier its logits too."""


class Classifier(nn.Module):
    """images (B, 3, H, W) -> logits (B, K). The backbone is the module that will be exported.

    dropout: share of the pooled features that is dropped in training. In training a network that
    is made with an auxiliary classifier (Inception-V3) gives the logits of both.
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features.channels[-1], num_classes)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.dropout = nn.Dropout(dropout)
        self.auxiliary_level = backbone.auxiliary_level
        self.auxiliary = (
            None if self.auxiliary_level is None else backbone.auxiliary_head(num_classes)
        )

    def forward(self, images: Tensor) -> Outputs:
        levels = self.backbone.classification_features(images)
        logits: Tensor = self.head(self.dropout(levels[-1].mean(dim=(2, 3))))
        if self.auxiliary is None or self.auxiliary_level is None or not self.training:
            return logits
        return logits, self.auxiliary(levels[self.auxiliary_level])


def load_classifier(directory: str | os.PathLike[str]) -> Classifier:
    """The classifier that an artifact was exported from, in eval mode and without gradients.

    Torch's global generator is left as it was. Raises ArtifactError where there is no classifier.
    """
    head = load_head(directory)
    backbone = load_artifact(directory)
    with torch.random.fork_rng(devices=[]):  # the initial head is drawn, and replaced at once
        classifier = Classifier(backbone, len(head["bias"]))
    classifier.head.load_state_dict(head)
    return classifier.eval().requires_grad_(False)


class _Shared(list[nn.Module]):
    """Is not copied with the model that holds it, as an average of weights does."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def mixes_batches(recipe: Recipe) -> bool:
    """Whether a trick changes images together with others of their batch.

    Not manifold mixup: what a hidden layer gives is too large to exchange, so that its partners
    are of the same process's share.
    """
    return any(type(t).transform_batch is not Trick.transform_batch for t in recipe.acting)


class TrainedClassifier(BaseModel):
    """A classifier under a recipe's losses, as mmengine trains it.

    teacher: gives logits (B, K) for the student's images, where the recipe distills; else None.
    rng: the generator of the step's batch tricks, set before each step.
    """

    def __init__(
        self,
        classifier: Classifier,
        recipe: Recipe,
        *,
        num_classes: int,
        normalizer: nn.Module,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor=normalizer)
        assert (teacher is None) == (recipe.distillation is None)
        self.classifier, self.recipe, self.num_classes = classifier, recipe, num_classes
        # In a list, so that the teacher's weights are neither trained nor saved with the student's.
        self._teacher = _Shared([] if teacher is None else [teacher.eval().requires_grad_(False)])
        self.rng = np.random.default_rng(0)

    def _apply(self, fn: Any, recurse: bool = True) -> TrainedClassifier:
        for teacher in self._teacher:  # goes to the device that the student goes to
            teacher._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    def forward(self, images: Tensor, labels: Tensor, mode: str = "tensor") -> Any:
        if mode == "loss":
            return self.loss(images, labels)
        logits = self.classifier(images)
        if mode == "predict":
            return [{"logits": z, "label": y} for z, y in zip(logits.float(), labels, strict=True)]
        return logits

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms of one step's loss; their sum is minimized."""
        tricks = self.recipe.acting
        targets = one_hot(labels, self.num_classes).to(images.dtype)
        for trick in tricks:
            targets = trick.transform_targets(targets)
        for trick in tricks:
            images, targets = trick.transform_batch(images, targets, self.rng)
        if mixes_batches(self.recipe):
            images, targets = share(images), share(targets)
        outputs, targets = self._outputs(images, targets)
        logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        losses = {"loss_targets": self._criterion(logits, targets)}
        for second in auxiliary:
            losses["loss_auxiliary"] = AUXILIARY_WEIGHT * self._criterion(second, targets)
        if self.recipe.distillation is not None:
            with torch.no_grad():
                teacher_logits = self._teacher[0](images).float()
            losses["loss_teacher"] = self.recipe.distillation.loss(logits.float(), teacher_logits)
        for trick in tricks:
            if (penalty := trick.penalty(self.classifier)) is not None:
                losses[f"loss_{trick.name}"] = penalty
        return losses

    def _outputs(self, images: Tensor, targets: Tensor) -> tuple[Outputs, Tensor]:
        for trick in self.recipe.acting:
            found = trick.forward(self.classifier, images, targets, self.rng)
            if found is not None:
                return found
        return self.classifier(images), targets

    def _criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.recipe.loss == "binary_cross_entropy":
            return binary_cross_entropy(
                logits.float(), targets, threshold=self.recipe.loss_threshold
            )
        return cross_entropy(logits.float(), targets)
