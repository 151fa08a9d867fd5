"""Best weights: the training ends with the weights of its best validation, not the last ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class BestWeights(Trick):
    """Validates after each epoch of the recipe, at most 20 times, and goes back at the end to the
    weights of the best top-1; of several alike to the last. With an average of the weights it is
    the average that is validated and kept.

    The best of many validations on the same images promises too much: judge by others.
    """

    name = "best_weights"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Goodfellow, Bengio and Courville 2016, Deep Learning (Prechelt 1998)",
        section="section 7.8, Algorithm 7.1, its return to the best weights",
        effect="not reported on ImageNet; never below the last weights on the validation images",
    )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, tuning=replace(recipe.tuning, best_weights=True))
