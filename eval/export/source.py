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


@dataclass(frozen=True, kw_only=True)
class Source:
    """directory: of the artifact. backbone: in eval mode. head: the classifier's {"weight" (K, C),
    "bias" (K,)}; empty where the artifact has none."""

    directory: Path
    card: Card
    backbone: Backbone
    head: Mapping[str, Tensor]

    @property
    def num_classes(self) -> int:
        """0 without a classifier."""
        return len(self.head["bias"]) if self.head else 0

    def logits(self, images: Tensor) -> Tensor:
        """The classifier's: images (B, 3, H, W), preprocessed -> (B, K)."""
        pooled = self.backbone.classification_features(images)[-1].mean(dim=(2, 3))
        return nn.functional.linear(pooled, self.head["weight"], self.head["bias"])


def load_source(directory: str | os.PathLike[str]) -> Source:
    """Raises ArtifactError for a directory that is no artifact, or a damaged one."""
    backbone = load_artifact(directory).requires_grad_(False)
    assert backbone.card is not None, "load_artifact sets it"
    try:
        head = load_head(directory)
    except ArtifactError:  # the weights are whole, or load_artifact had said so
        head = {}
    if head and set(head) != {"weight", "bias"}:
        raise ArtifactError(f"{directory}: the classifier is {sorted(head)}, not weight and bias")
    return Source(directory=Path(directory), card=backbone.card, backbone=backbone, head=head)
