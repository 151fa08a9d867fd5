"""Perspective: views as if seen from an angle, each corner moved inwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from classification.geometry import check_fill, perspective_matrix, warp
from classification.probability import check_probability
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Perspective(Trick):
    """distortion: a corner moves by up to this share of half the side, uniform in x and in y.
    probability: of a view to be changed. fill: what comes from outside, "mean" (ImageNet's mean
    colour) or "reflect".
    """

    distortion: float = 0.3
    probability: float = 0.5
    fill: Literal["mean", "reflect"] = "mean"

    name = "perspective"
    kind = "augmentation"
    moves_pixels = True
    card = Card(
        paper="torchvision, transforms.v2.RandomPerspective",
        section="its documentation",
        effect="not reported",
    )

    def __post_init__(self) -> None:
        check_probability(self.probability)
        check_fill(self.fill)
        if not 0 < self.distortion < 1:
            raise ValueError(f"distortion must lie in (0, 1), not {self.distortion}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        import numpy as np

        if rng.random() >= self.probability:
            return view
        height, width = view.shape[:2]
        farthest = self.distortion / 2 * np.array([width, height])
        right, bottom = width - 1, height - 1
        corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)
        inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        corners += inwards * rng.uniform(size=(4, 2)) * farthest
        return warp(view, perspective_matrix(corners, height=height, width=width), fill=self.fill)
