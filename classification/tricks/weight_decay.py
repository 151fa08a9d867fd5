"""Another weight decay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class WeightDecay(Trick):
    """value: factor of the L2 penalty 0.5 value |w|^2; 0 switches it off.

    sgd, momentum, adam and radam add value w to the gradient. adamw, sgdw, nadamw, adafactor and
    lion decouple it: the weights shrink by the share rate times value. lamb adds it to Adam's
    step, before that is scaled to the weights' norm. NoBiasDecay spares the vectors.
    """

    value: float

    name = "weight_decay"
    kind = "regularization"
    card = Card(
        paper="Krogh and Hertz 1992; decoupled: Loshchilov and Hutter 2019, arXiv:1711.05101",
        section="section 2 of the second",
        equation="w - eta (gradient + lambda w)",
        effect="not reported alone; ImageNet trainings with SGD use 1e-4, with AdamW 0.02 to 0.05",
    )

    def __post_init__(self) -> None:
        if not self.value >= 0:
            raise ValueError(f"value must not be negative, not {self.value}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, optimizer=replace(recipe.optimizer, weight_decay=self.value))
