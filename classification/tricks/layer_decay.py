"""Layer decay: earlier parts of the network learn more slowly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class LayerDecay(Trick):
    """decay: factor on the learning rate from each part to the one before it; the parts are the
    head, which has the recipe's own rate, stage 4, 3, 2, 1 and the stem.

    Of parts and not of single layers, so that every architecture has the same six.
    """

    decay: float = 0.75

    name = "layer_decay"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Howard and Ruder 2018, arXiv:1801.06146; for images: Bao et al. 2021, "
        "arXiv:2106.08254",
        section="section 3.2, discriminative fine-tuning",
        equation="eq. 2; rate of part l of L: decay^(L - l)",
        effect="not reported as ImageNet top-1; the first divides by 2.6 from layer to layer of a "
        "language model",
    )

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"decay must lie in (0, 1), not {self.decay}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, tuning=replace(recipe.tuning, layer_decay=self.decay))
