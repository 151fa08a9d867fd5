"""Training at another resolution than the evaluation's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class TrainResolution(Trick):
    """scale: side of the training images, as a share of the side of those evaluated.

    A random resized crop shows objects larger than the central crop of the evaluation does; a
    smaller training image makes them alike, and costs less. Without FixRes's fine-tuning.
    """

    scale: float

    name = "train_resolution"
    kind = "augmentation"
    card = Card(
        paper="Touvron et al. 2019, arXiv:1906.06423",
        section="sections 3 and 4",
        effect="77.0 for ResNet-50 at 224; after fine-tuning 77.1 from 128 pixels, 79.1 from 224",
    )

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 2:
            raise ValueError(f"scale must lie in (0, 2], not {self.scale}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, train_size_scale=self.scale)
