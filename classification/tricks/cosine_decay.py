"""Cosine learning-rate decay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.schedules import Cosine
from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class CosineDecay(Trick):
    """From the base learning rate at the end of the warmup to 0 at the end of the run."""

    name = "cosine_decay"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Loshchilov and Hutter 2017, arXiv:1608.03983)",
        section="section 5.1, Table 6",
        equation="eq. 3",
        effect="+0.75 for ResNet-50-D",
    )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, schedule=Cosine())
