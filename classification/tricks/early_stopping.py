"""Early stopping: training ends when top-1 no longer gets better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class EarlyStopping(Trick):
    """patience: epochs of the recipe without a better top-1, after which the training ends.

    It ends with the weights that it then has. The schedule is that of the whole run.
    """

    patience: float = 10.0

    name = "early_stopping"
    kind = "regularization"
    card = Card(
        paper="Goodfellow, Bengio and Courville 2016, Deep Learning (Prechelt 1998)",
        section="section 7.8, Algorithm 7.1, without its return to the best weights",
        effect="not reported on ImageNet; saves time where a training no longer gets better",
    )

    def __post_init__(self) -> None:
        if not self.patience > 0:
            raise ValueError(f"patience must be positive, in epochs, not {self.patience}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, early_stopping=self.patience)
