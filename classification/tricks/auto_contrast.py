"""Auto contrast: each channel of some views is stretched to run from 0 to 255."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification import image_operations
from classification.probability import check_probability
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class AutoContrast(Trick):
    """probability: of a view to be stretched."""

    probability: float = 0.2

    name = "auto_contrast"
    kind = "augmentation"
    card = Card(
        paper="Cubuk et al. 2019, arXiv:1805.09501",
        section="appendix, list of all image transformations",
        effect="not reported by itself",
    )

    def __post_init__(self) -> None:
        check_probability(self.probability)

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image_operations.auto_contrast(view) if rng.random() < self.probability else view
