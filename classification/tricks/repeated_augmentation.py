"""Repeated augmentation: several views of one image in a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class RepeatedAugmentation(Trick):
    """repeats: views of one image that follow each other, each augmented anew; 1 is none.

    The batch and the number of steps stay: a batch holds a `repeats`-th as many images.
    """

    repeats: int = 3

    name = "repeated_augmentation"
    kind = "augmentation"
    card = Card(
        paper="Hoffer et al. 2020, arXiv:1901.09335 (Berman et al. 2019, arXiv:1902.05509)",
        section="section 3",
        effect="not reported for a batch that keeps its size; Hoffer et al. let it grow",
    )

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, repeats=self.repeats)
