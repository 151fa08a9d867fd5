"""Polynomial decay of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from classification.tricks.schedule import Schedule, progress
from classification.tricks.trick import Card


@dataclass(frozen=True)
class PolynomialDecay(Schedule):
    """From the base learning rate to `final` times it, as a power of the share that is left.

    power: 2 in training ImageNet with large batches, 0.9 in semantic segmentation. final: share
    of the base rate at the end.
    """

    power: float = 2.0
    final: float = 0.0

    name = "polynomial_decay"
    card = Card(
        paper="You et al. 2017, arXiv:1708.03888",
        section="its training policy: polynomial, power 2",
        equation="eta (1 - t / T)^power",
        effect="not reported against another schedule",
    )

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"power must be positive, not {self.power}")
        if not 0 <= self.final < 1:
            raise ValueError(f"final must lie in [0, 1), not {self.final}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        left = 1 - progress(epoch, start=start, epochs=epochs)
        return self.final + (1 - self.final) * math.pow(left, self.power)
