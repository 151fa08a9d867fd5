"""The share of the image that is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class EvaluationCrop(Trick):
    """fraction: the image's shorter side becomes image size / fraction before the central crop.

    224 of 256 pixels, the habit of the field, are 0.875.
    """

    fraction: float = 0.95

    name = "evaluation_crop"
    kind = "augmentation"
    card = Card(
        paper="Wightman et al. 2021, arXiv:2110.00476",
        section="section 3",
        effect="part of its recipes (0.95); its own effect is not recorded here",
    )

    def __post_init__(self) -> None:
        if not 0.5 < self.fraction <= 1:
            raise ValueError(f"fraction must lie in (0.5, 1], not {self.fraction}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, evaluation_crop=self.fraction)
