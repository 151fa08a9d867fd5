"""A trick and a recipe of one's own: trickle run --recipes examples/trick/mine.py ..."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from classification.recipes import RECIPES as ours
from classification.tricks.trick import Card, Trick

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def grayscale(view: np.ndarray) -> np.ndarray:
    """(S, S, 3) RGB uint8 -> the same with its brightness in all three channels."""
    brightness = np.rint(view @ _LUMA).astype(np.uint8)
    return np.repeat(brightness[..., None], 3, axis=2)


@dataclass(frozen=True)
class Grayscale(Trick):
    """probability: of a training image to lose its colors."""

    probability: float = 0.2

    name = "grayscale"
    kind = "augmentation"
    card = Card(
        paper="Chen et al. 2020, arXiv:2002.05709",
        section="appendix A",
        effect="not reported alone; part of SimCLR's augmentation",
    )

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability must lie in (0, 1], not {self.probability}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return grayscale(view) if rng.random() < self.probability else view


RECIPES = {"gray": ours["mixup"] | Grayscale(0.2)}
