"""L1 penalty on the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from classification.model import Classifier


def l1_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of |w| over all weights of the tensors, a scalar in float32."""
    import torch

    return torch.stack([parameter.float().abs().sum() for parameter in parameters]).sum()


@dataclass(frozen=True)
class L1Penalty(Trick):
    """weight: factor of the sum of |w| in the loss.

    Over the weights of convolutions and linear layers (the tensors that are no vectors), as
    NoBiasDecay does for the weight decay, whether that trick is there or not.
    """

    weight: float = 1e-6

    name = "l1_penalty"
    kind = "regularization"
    card = Card(
        paper="Tibshirani 1996, the lasso",
        section="section 1",
        equation="weight sum |w|",
        effect="not reported on ImageNet; pulls weights to 0",
    )

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight must be positive, not {self.weight}")

    def penalty(self, classifier: Classifier) -> Tensor | None:
        weights = [p for p in classifier.parameters() if p.requires_grad and p.ndim > 1]
        return self.weight * l1_norm(weights)
