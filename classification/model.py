"""The classifier (backbone, global average pooling, head) and how a recipe trains it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, one_hot, relu

from backbones.artifact import ArtifactError, load_artifact, load_head
from backbones.base import Backbone
from classification.recipe import Recipe
from classification.tricks.binary_cross_entropy import binary_cross_entropy
from classification.tricks.trick import Trick
from classification.tuning import STAGES
from engine.shared_batch import share

AUXILIARY_WEIGHT = 0.4
"""Of Inception-V3's second loss, as in TF-Slim's and torchvision's reference training."""

Outputs = Tensor | tuple[Tensor, Tensor]
"""Logits (B, K); in the training of a network with an auxiliary classifier its logits too."""


class Head(nn.Linear):
    """Pooled features (B, C) -> logits (B, K), through hidden layers where there are any.

    Its tensors are "weight" and "bias" of the classifier, (K, last units or C) and (K,), and
    "hidden.<i>.weight" and "hidden.<i>.bias" of the layers before it. hidden: their units; after
    each come ReLU and `dropout`, the share of its outputs that is dropped in training.
    """

    def __init__(
        self, channels: int, num_classes: int, *, hidden: Sequence[int] = (), dropout: float = 0.0
    ) -> None:
        super().__init__((channels, *hidden)[-1], num_classes)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)
        self.hidden_dropout = dropout
        sizes = zip((channels, *hidden), hidden, strict=False)
        layers = [nn.Linear(inputs, units) for inputs, units in sizes]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.hidden = nn.ModuleList(layers)

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.hidden:
            features = dropout(relu(layer(features)), self.hidden_dropout, self.training)
        return super().forward(features)


class Classifier(nn.Module):
    """images (B, 3, H, W) -> logits (B, K). The backbone is the module that will be exported.

    dropout: share of the pooled features that is dropped in training; hidden, hidden_dropout: as
    the `Head` takes them. In training a network that is made with an auxiliary classifier
    (Inception-V3) gives the logits of both, unless all of the backbone is frozen.

    What `features` gave of images (B, C) may stand in their place: frozen, it is computed once.
    """

    frozen_stages = -1

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        dropout: float = 0.0,
        hidden: Sequence[int] = (),
        hidden_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.features.channels[-1]
        self.head = Head(channels, num_classes, hidden=hidden, dropout=hidden_dropout)
        self._frozen: list[nn.Module] = []
        self.dropout = nn.Dropout(dropout)
        self.auxiliary_level = backbone.auxiliary_level
        self.auxiliary = (
            None if self.auxiliary_level is None else backbone.auxiliary_head(num_classes)
        )

    def forward(self, images: Tensor) -> Outputs:
        if images.ndim == 2:
            return self.classify(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_stages < STAGES):
            levels = self.backbone.classification_features(images)
        logits = self.classify(levels[-1].mean(dim=(2, 3)))
        if self.auxiliary is None or self.auxiliary_level is None or not self.training:
            return logits
        if self.frozen_stages == STAGES:
            return logits
        return logits, self.auxiliary(levels[self.auxiliary_level])

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C): the average of the last level over the image."""
        return self.backbone.classification_features(images)[-1].mean(dim=(2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """(B, C) -> logits (B, K)."""
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def freeze(self, stages: int) -> None:
        """Freezes the stem and the first `stages` (0..4) stages, and nothing else; -1: nothing.

        They take no gradients and are in evaluation mode: batch normalization's statistics stay.
        """
        frozen = set() if stages < 0 else {id(p) for p in self.backbone.parameters_until(stages)}
        if stages == STAGES:  # what no level depends on, too, and what learns for their sake
            rest = () if self.auxiliary is None else self.auxiliary.parameters()
            frozen |= {id(p) for p in (*self.backbone.parameters(), *rest)}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) not in frozen)
        self.frozen_stages = stages
        self._frozen = list(_frozen_parts(self))
        self.train(self.training)

    def parts(self) -> tuple[list[nn.Parameter], ...]:
        """The parameters of the stem, of stage 1 to 4, and of the head, each in one of the six.

        What no level depends on is counted with stage 4, an auxiliary classifier with the head.
        """
        until = [{id(p) for p in self.backbone.parameters_until(k)} for k in range(STAGES)]
        parts: tuple[list[nn.Parameter], ...] = tuple([] for _ in range(STAGES + 2))
        for parameter in self.backbone.parameters():
            found = (k for k, ids in enumerate(until) if id(parameter) in ids)
            parts[next(found, STAGES)].append(parameter)
        of_backbone = {id(p) for p in self.backbone.parameters()}
        parts[-1].extend(p for p in self.parameters() if id(p) not in of_backbone)
        return parts

    def train(self, mode: bool = True) -> Classifier:
        """Sets the mode, but of what is frozen."""
        super().train(mode)
        for module in self._frozen if mode else ():
            module.eval()
        return self


def _frozen_parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts that have parameters of which none takes a gradient."""
    learns = [parameter.requires_grad for parameter in module.parameters()]
    if learns and not any(learns):
        yield module
    else:
        for part in module.children():
            yield from _frozen_parts(part)


def load_classifier(directory: str | os.PathLike[str]) -> Classifier:
    """The classifier that an artifact was exported from, in eval mode and without gradients.

    Torch's global generator is left as it was. Raises ArtifactError where there is no classifier,
    or one that is not a `Head`'s.
    """
    head = load_head(directory)
    backbone = load_artifact(directory)
    try:
        with torch.random.fork_rng(devices=[]):  # the initial head is drawn, and replaced at once
            classifier = Classifier(backbone, len(head["bias"]), hidden=hidden_units(head))
        classifier.head.load_state_dict(head)
    except (KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"{os.fspath(directory)}: the classifier's tensors {sorted(head)} are not a weight and "
            f"a bias, after hidden layers or without, that fit the backbone: {error}"
        ) from error
    return classifier.eval().requires_grad_(False)


def hidden_units(head: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The units of the hidden layers of a `Head` with these tensors."""
    count = sum(name.startswith("hidden.") and name.endswith(".bias") for name in head)
    return tuple(len(head[f"hidden.{index}.bias"]) for index in range(count))


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

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None = None,
        mode: str = "tensor",
    ) -> Any:
        if mode == "loss":
            return self.loss(images, labels, targets)
        logits = self.classifier(images)
        if mode == "predict":
            return [{"logits": z, "label": y} for z, y in zip(logits.float(), labels, strict=True)]
        return logits

    def loss(
        self, images: Tensor, labels: Tensor, targets: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms of one step's loss; their sum is minimized. targets: (B, K) rows that sum to 1,
        where an image is of several classes; they stand in the place of the labels."""
        tricks = self.recipe.acting
        if targets is None:
            targets = one_hot(labels, self.num_classes)
        targets = targets.to(images.dtype)
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
