"""Solarize: what is bright is inverted, as on film that was exposed for much too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification import image_operations
from classification.probability import check_probability
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Solarize(Trick):
    """threshold: values from it on are inverted, 0 to 256. probability: of a view to be
    solarized.
    """

    threshold: float = 128.0
    probability: float = 0.1

    name = "solarize"
    kind = "augmentation"
    card = Card(
        paper="Cubuk et al. 2019, arXiv:1805.09501",
        section="appendix, list of all image transformations",
        effect="not reported by itself",
    )

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0 <= self.threshold <= 256:
            raise ValueError(f"threshold must lie in [0, 256], not {self.threshold}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.probability:
            return view
        return image_operations.solarize(view, self.threshold)
