"""Hidden layers between the pooled features and the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class HiddenLayers(Trick):
    """units: of each layer, the first one after the features first. dropout: share of each
    layer's outputs that is 0 in training; the others grow by 1 / (1 - dropout).
    """

    units: Sequence[int] = (512,)
    dropout: float = 0.5

    name = "hidden_layers"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Chollet 2021, Deep Learning with Python, 2nd edition",
        section="section 8.3",
        equation="linear, ReLU, dropout; without batch normalization, since batches may be small",
        effect="not reported as ImageNet top-1",
    )

    def __post_init__(self) -> None:
        if isinstance(self.units, str) or not isinstance(self.units, Sequence):
            raise ValueError(f"units is a list, one number for each layer, not {self.units!r}")
        object.__setattr__(self, "units", tuple(self.units))  # a list comes from JSON
        if not self.units or any(not isinstance(n, int) or n < 1 for n in self.units):
            raise ValueError(
                f"units is a whole number of at least 1 for each layer, not {self.units}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), not {self.dropout}")

    def apply(self, recipe: Recipe) -> Recipe:
        tuning = replace(recipe.tuning, hidden=tuple(self.units), hidden_dropout=self.dropout)
        return replace(recipe, tuning=tuning)
