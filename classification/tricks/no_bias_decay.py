"""No bias decay: weight decay acts on the weights of convolutions and linear layers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NoBiasDecay(Trick):
    """Biases, and gamma and beta of the norms (all the vectors), are not decayed."""

    name = "no_bias_decay"
    kind = "efficiency"
    card = Card(
        paper=BAG_OF_TRICKS,
        section="section 3.1, Table 4",
        effect="-0.03 at batch 256, -0.34 at batch 1024, as one step of the table's ladder",
    )

    def decays(self, parameter: nn.Parameter) -> bool:
        return parameter.ndim > 1
