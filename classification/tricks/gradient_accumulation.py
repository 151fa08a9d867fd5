"""Gradient accumulation: a batch in parts, one optimizer step for all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class GradientAccumulation(Trick):
    """steps: parts in which a batch is computed, one after the other, before the optimizer's step.

    The batch size, and with it the learning rate, stays that of the recipe; memory is that of one
    part. Batch normalization sees one part at a time, which changes its statistics.
    """

    steps: int = 2

    name = "gradient_accumulation"
    kind = "efficiency"
    card = Card(
        paper="Ott et al. 2018, arXiv:1806.00187",
        section="its larger batches, the gradients of several passes accumulated",
        effect="the gradient of the whole batch; batch normalization is over a part of it",
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or self.steps != int(self.steps):
            raise ValueError(f"steps must be a whole number, at least 1, not {self.steps}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, accumulation=self.steps)
