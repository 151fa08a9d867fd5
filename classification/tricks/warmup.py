"""Learning-rate warmup."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Warmup(Trick):
    """Linear from 0 to the base learning rate over the first `epochs`."""

    epochs: float

    name = "warmup"
    card = Card(
        paper=BAG_OF_TRICKS,
        section="section 3.1, Table 4",
        equation="rate i eta / m at step i of m",
        effect="+0.16 at batch 256, +0.76 at batch 1024",
    )

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(f"warmup epochs must be positive, not {self.epochs}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, warmup_epochs=self.epochs)
