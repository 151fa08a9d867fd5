"""Another length of training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Epochs(Trick):
    """epochs: length of the run, in passes over ImageNet; a benchmark scales it."""

    epochs: float

    name = "epochs"
    kind = "efficiency"
    card = Card(
        paper=BAG_OF_TRICKS,
        section="section 5.4",
        effect="mixup asks for a longer progress to converge better: 200 epochs instead of 120",
    )

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(f"epochs must be positive, not {self.epochs}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, epochs=self.epochs)
