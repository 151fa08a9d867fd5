"""Invert: the colours of some views are inverted, 255 minus each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification import image_operations
from classification.probability import check_probability
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Invert(Trick):
    """probability: of a view to be inverted."""

    probability: float = 0.1

    name = "invert"
    kind = "augmentation"
    card = Card(
        paper="Cubuk et al. 2019, arXiv:1805.09501",
        section="appendix, list of all image transformations",
        effect="not reported by itself",
    )

    def __post_init__(self) -> None:
        check_probability(self.probability)

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image_operations.invert(view) if rng.random() < self.probability else view
