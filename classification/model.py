"""The classifier (backbone, global average pooling, linear layer) and how a recipe trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from backbones.base import Backbone
from classification.recipe import Recipe


class Classifier(nn.Module):
    """images (B, 3, H, W) -> logits (B, K). The backbone is the module that will be exported."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features.channels[-1], num_classes)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[-1].mean(dim=(2, 3)))


class TrainedClassifier(BaseModel):
    """A classifier under a recipe's losses, as mmengine trains it.

    teacher: a frozen classifier for recipes with distillation, else None. rng: the generator of
    the step's batch tricks, set before each step.
    """

    def __init__(
        self,
        classifier: Classifier,
        recipe: Recipe,
        *,
        num_classes: int,
        normalizer: nn.Module,
        teacher: Classifier | None = None,
    ) -> None:
        super().__init__(data_preprocessor=normalizer)
        assert (teacher is None) == (recipe.distillation is None)
        self.classifier, self.recipe, self.num_classes = classifier, recipe, num_classes
        # In a list, so that the teacher's weights are neither trained nor saved with the student's.
        self._teacher = [] if teacher is None else [teacher.eval().requires_grad_(False)]
        self.rng = np.random.default_rng(0)

    def _apply(self, fn: Any, recurse: bool = True) -> TrainedClassifier:
        for teacher in self._teacher:  # goes to the device that the student goes to
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, images: Tensor, labels: Tensor, mode: str = "tensor") -> Any:
        if mode == "loss":
            return self.loss(images, labels)
        logits = self.classifier(images)
        if mode == "predict":
            return [{"logits": z, "label": y} for z, y in zip(logits.float(), labels, strict=True)]
        return logits

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        targets = one_hot(labels, self.num_classes).to(images.dtype)
        for trick in self.recipe.tricks:
            targets = trick.transform_targets(targets)
        for trick in self.recipe.tricks:
            images, targets = trick.transform_batch(images, targets, self.rng)
        logits = self.classifier(images).float()
        losses = {"loss_targets": cross_entropy(logits, targets)}
        if self.recipe.distillation is not None:
            with torch.no_grad():
                teacher_logits = self._teacher[0](images).float()
            losses["loss_teacher"] = self.recipe.distillation.loss(logits, teacher_logits)
        return losses


class TopKAccuracy(BaseMetric):
    """Share of validation images whose label is among the k highest logits, in percent.

    100 where there are no more than k classes.
    """

    default_prefix = ""

    def __init__(self, num_classes: int, *, ks: Sequence[int] = (1, 5)) -> None:
        super().__init__()
        self.num_classes, self.ks = num_classes, tuple(ks)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        for sample in data_samples:
            order = sample["logits"].argsort(descending=True, stable=True)
            rank = int((order == sample["label"]).nonzero())
            self.results.append((int(sample["label"]), rank))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, Any]:
        labels, ranks = np.array(results).T
        metrics: dict[str, Any] = {f"top{k}": 100 * float(np.mean(ranks < k)) for k in self.ks}
        correct = ranks < 1
        metrics["top1_per_class"] = [
            100 * float(correct[labels == c].mean()) if (labels == c).any() else None
            for c in range(self.num_classes)
        ]
        metrics["n"] = len(results)
        return metrics
