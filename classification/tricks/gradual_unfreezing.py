"""Gradual unfreezing: the head learns first, then one more stage after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class GradualUnfreezing(Trick):
    """epochs_per_stage: of the recipe, after which one more stage learns: 4, 3, 2, then 1 with the
    stem. Until then its weights, and its batch normalization's statistics, stay as they are.
    """

    epochs_per_stage: float = 1.0

    name = "gradual_unfreezing"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Howard and Ruder 2018, arXiv:1801.06146",
        section="section 3.3",
        equation="frozen at epoch t: the stem and the first 4 - floor(t / epochs_per_stage) stages",
        effect="not reported for images: the paper's ablation is of language models, where it "
        "keeps what was learned before",
        conflicts=("head_only",),
    )

    def __post_init__(self) -> None:
        if not self.epochs_per_stage > 0:
            raise ValueError(
                f"epochs_per_stage must be positive, in epochs, not {self.epochs_per_stage}"
            )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, tuning=replace(recipe.tuning, unfreeze_epochs=self.epochs_per_stage))
