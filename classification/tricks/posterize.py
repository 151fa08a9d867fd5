"""Posterize: of some views only the highest bits of the values stay, so that shades merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification import image_operations
from classification.probability import check_probability
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Posterize(Trick):
    """bits: that are kept, 1 to 8. probability: of a view to be posterized."""

    bits: int = 4
    probability: float = 0.1

    name = "posterize"
    kind = "augmentation"
    card = Card(
        paper="Cubuk et al. 2019, arXiv:1805.09501",
        section="appendix, list of all image transformations",
        effect="not reported by itself",
    )

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if self.bits not in range(1, 9):
            raise ValueError(f"bits must be a whole number from 1 to 8, not {self.bits}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.probability:
            return view
        return image_operations.posterize(view, self.bits)
