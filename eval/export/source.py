"""What is exported: an artifact's backbone, its classifier and its card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from backbones.artifact import load_artifact, load_head
from backbones.base import Backbone
from backbones.card import ArtifactError, Card
from eval.export.targets import ExportError


@dataclass(frozen=True, kw_only=True)
class Source:
    """directory: of the artifact. backbone: in eval mode. head: the classifier's {"weight" (K, C),
    "bias" (K,)}, and "hidden.<i>.weight", "hidden.<i>.bias" of layers before it; empty where the
    artifact has none."""

    directory: Path
    card: Card
    backbone: Backbone
    head: Mapping[str, Tensor]

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.backbone.input_channels

    @property
    def num_classes(self) -> int:
        """0 without a classifier."""
        return len(self.head["bias"]) if self.head else 0

    @property
    def class_names(self) -> list[str]:
        """Of the classifier's outputs, in their order; empty where they are not known."""
        names = list(self.card.classes or ())
        return names if len(names) == self.num_classes else []

    def logits(self, images: Tensor) -> Tensor:
        """The classifier's: images (B, 3, H, W), preprocessed -> (B, K)."""
        values = self.backbone.classification_features(images)[-1].mean(dim=(2, 3))
        for layer in range(self.hidden_layers):
            weight, bias = (self.head[f"hidden.{layer}.{name}"] for name in ("weight", "bias"))
            values = nn.functional.relu(nn.functional.linear(values, weight, bias))
        return nn.functional.linear(values, self.head["weight"], self.head["bias"])

    @property
    def hidden_layers(self) -> int:
        """Of the classifier, before its last one."""
        return _hidden_layers(self.head)

    def check_linear(self, library: str) -> None:
        """Raises ExportError for a classifier of several layers, which the library has not."""
        if layers := self.hidden_layers:
            raise ExportError(
                f"{library}'s networks have one linear layer behind the pooling, and this "
                f"classifier has {layers} hidden ones before it"
            )


def _hidden_layers(head: Mapping[str, Tensor]) -> int:
    return max(0, len(head) - 2) // 2


def load_source(directory: str | os.PathLike[str]) -> Source:
    """Raises ArtifactError for a directory that is no artifact, or a damaged one."""
    backbone = load_artifact(directory).requires_grad_(False)
    assert backbone.card is not None, "load_artifact sets it"
    try:
        head = load_head(directory)
    except ArtifactError:  # the weights are whole, or load_artifact had said so
        head = {}
    prefixes = ("", *(f"hidden.{layer}." for layer in range(_hidden_layers(head))))
    if head and set(head) != {p + name for p in prefixes for name in ("weight", "bias")}:
        raise ArtifactError(
            f"{directory}: the classifier is {sorted(head)}, not weight and bias, after hidden "
            "layers or without"
        )
    return Source(directory=Path(directory), card=backbone.card, backbone=backbone, head=head)
