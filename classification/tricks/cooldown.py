"""A cooldown after the schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Cooldown(Trick):
    """epochs: added to the training, at the learning rate with which the schedule ended."""

    epochs: float = 10.0

    name = "cooldown"
    kind = "efficiency"
    card = Card(
        paper="Ridnik et al. 2022, arXiv:2204.03475 (timm's cooldown_epochs)",
        section="the training configuration",
        effect="not reported alone",
    )

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise ValueError(f"cooldown epochs must be positive, not {self.epochs}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, cooldown_epochs=self.epochs)
