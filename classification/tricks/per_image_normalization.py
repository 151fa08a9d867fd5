"""Per-image normalization: each view by its own mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

from backbones.representation import Representation
from classification.tricks.trick import Card, Trick


@dataclass(frozen=True)
class PerImageNormalization(Trick):
    """Takes the place of ImageNet's mean and standard deviation of each channel.

    In training and evaluation alike: brightness, contrast and a cast of colour are gone. A channel
    of one value becomes 0.
    """

    name = "per_image_normalization"
    kind = "augmentation"
    alternatives = "representation"
    card = Card(
        paper="Goodfellow et al. 2016, Deep Learning",
        section="section 12.2.1.1, contrast normalization",
        equation="(x - mean(x)) / max(std(x), 1)",
        effect="not reported; for images of many cameras and lights",
        conflicts=("distillation",),  # a teacher sees the same images, and knows RGB alone
    )

    @property
    def representation(self) -> Representation:
        return Representation(kind="normalized")
