"""Flips: views mirrored left to right, and upside down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

    from classification.recipe import Recipe


@dataclass(frozen=True)
class Flips(Trick):
    """horizontal: probability of a view to be mirrored left to right, 0.5 in the baseline.
    vertical: of one to be mirrored top to bottom, for images that have no upper side: microscopy,
    satellites, skin. 0 for both where writing, clocks or hands are to be told apart.
    """

    horizontal: float = 0.5
    vertical: float = 0.5

    name = "flips"
    kind = "augmentation"
    moves_pixels = True
    card = Card(
        paper="Krizhevsky et al. 2012",
        section="section 4.1",
        effect="the horizontal flip is part of the baseline; the vertical one's is not reported",
    )

    def __post_init__(self) -> None:
        for name in ("horizontal", "vertical"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")

    def apply(self, recipe: Recipe) -> Recipe:
        augmentation = replace(recipe.augmentation, flip_probability=self.horizontal)
        return replace(recipe, augmentation=augmentation)

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        import cv2

        if rng.random() >= self.vertical:
            return view
        flipped: np.ndarray = cv2.flip(view, 0)
        return flipped
