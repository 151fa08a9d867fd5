"""Warmup: the learning rate rises linearly over the first epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Warmup(Trick):
    """Linear to the base learning rate over the first `epochs`.

    start: share of the base rate at the first step; the paper's is 0.
    """

    epochs: float
    start: float = 0.0

    name = "warmup"
    kind = "efficiency"
    card = Card(
        paper=BAG_OF_TRICKS,
        section="section 3.1, Table 4",
        equation="rate i eta / m at step i of m",
        effect="+0.16 at batch 256, +0.76 at batch 1024",
    )

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise ValueError(f"warmup epochs must be positive, not {self.epochs}")
        if not 0 <= self.start < 1:
            raise ValueError(f"warmup start must lie in [0, 1), not {self.start}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, warmup_epochs=self.epochs, warmup_start=self.start)
