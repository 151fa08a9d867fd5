"""Label smoothing: the other classes get a part of the target's probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from torch import Tensor


def smooth_labels(targets: Tensor, epsilon: float) -> Tensor:
    """q_i = 1 - epsilon for the class, epsilon / (K - 1) for the others: eq. 4 of He et al. 2019.

    targets: (B, K) rows summing to 1. (Szegedy et al. 2016 and torch spread epsilon over all K
    classes instead: their epsilon' is epsilon K / (K - 1).)
    """
    k = targets.shape[1]
    return targets * (1 - epsilon) + (1 - targets) * (epsilon / (k - 1))


@dataclass(frozen=True)
class LabelSmoothing(Trick):
    """epsilon: the probability given to the other classes together."""

    epsilon: float = 0.1

    name = "label_smoothing"
    kind = "targets"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Szegedy et al. 2016, arXiv:1512.00567)",
        section="section 5.2, Table 6",
        equation="eq. 4",
        effect="+0.4 for ResNet-50-D",
    )

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must lie in (0, 1), not {self.epsilon}")

    def transform_targets(self, targets: Tensor) -> Tensor:
        return smooth_labels(targets, self.epsilon)
