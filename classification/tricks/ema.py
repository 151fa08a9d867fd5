"""Exponential moving average of the weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class EMA(Trick):
    """decay: share of the old average in the new one, at each step; the average is evaluated.

    For the recipe's own number of steps: on a shorter run the average spans the same share of it.
    """

    decay: float = 0.9999

    name = "ema"
    kind = "efficiency"
    card = Card(
        paper="Polyak and Juditsky 1992; as a moving average: Szegedy et al. 2016, "
        "arXiv:1512.00567",
        section="section 8 of the second",
        equation="decay average + (1 - decay) weights",
        effect="not reported alone",
    )

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"decay must lie in (0, 1), not {self.decay}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, ema_decay=self.decay)
