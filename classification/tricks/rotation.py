"""Rotation: views are turned about their centre by a random angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from classification.geometry import affine_matrix, check_fill, warp
from classification.probability import check_probability
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Rotation(Trick):
    """degrees: the angle is uniform in [-degrees, degrees]; 180 where up and down say nothing, as
    under a microscope or from above. probability: of a view to be turned. fill: what comes from
    outside, "mean" (ImageNet's mean colour) or "reflect".
    """

    degrees: float = 15.0
    probability: float = 1.0
    fill: Literal["mean", "reflect"] = "mean"

    name = "rotation"
    kind = "augmentation"
    moves_pixels = True
    card = Card(
        paper="Simard et al. 2003",
        section="section 2, expanding data sets",
        effect="not reported for ImageNet",
    )

    def __post_init__(self) -> None:
        check_probability(self.probability)
        check_fill(self.fill)
        if not 0 < self.degrees <= 180:
            raise ValueError(f"degrees must lie in (0, 180], not {self.degrees}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.probability:
            return view
        height, width = view.shape[:2]
        degrees = rng.uniform(-self.degrees, self.degrees)
        matrix = affine_matrix(height=height, width=width, degrees=degrees)
        return warp(view, matrix, fill=self.fill)
