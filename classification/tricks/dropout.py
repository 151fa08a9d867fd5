"""Dropout before the classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Dropout(Trick):
    """rate: share of the pooled features set to 0 in training; the others grow by 1 / (1 - rate).

    Between the pooling and the linear layer, which are not part of the exported backbone.
    """

    rate: float = 0.2

    name = "dropout"
    kind = "regularization"
    card = Card(
        paper="Srivastava et al. 2014, JMLR 15",
        section="section 4",
        effect="not reported for networks with batch normalization and one linear layer",
    )

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie in (0, 1), not {self.rate}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, dropout=self.rate)
