"""Head only: the backbone stays as it is, and what it makes of the images is learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class HeadOnly(Trick):
    """All of the backbone is frozen, its batch normalization's statistics too.

    With `PlainViews` its features are computed once and the steps are those of the head alone.
    """

    name = "head_only"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Kornblith et al. 2019, arXiv:1805.08974",
        section="logistic regression on fixed features",
        effect="not reported as ImageNet top-1; on most of 12 other data sets below fine-tuning "
        "all, which takes many times as long",
        conflicts=("drop_path",),
    )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, tuning=replace(recipe.tuning, head_only=True))
