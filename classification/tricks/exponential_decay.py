"""Exponential decay of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from classification.tricks.schedule import Schedule
from classification.tricks.trick import BAG_OF_TRICKS, Card


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Times gamma every `period` epochs, counted from the warmup's end.

    staircase: at once at the end of each period, instead of a little in every step.
    """

    gamma: float = 0.94
    period: float = 2.0
    staircase: bool = False

    name = "exponential_decay"
    card = Card(
        paper="Szegedy et al. 2016, arXiv:1512.00567",
        section="section 8",
        equation="eta gamma^(t / period)",
        effect=(
            "not reported against another schedule; Inception-V3 was trained with 0.94 every 2 "
            f"epochs, and {BAG_OF_TRICKS}, section 5.1, names it the widely used strategy"
        ),
    )

    def __post_init__(self) -> None:
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma must lie in (0, 1), not {self.gamma}")
        if not self.period > 0:
            raise ValueError(f"period must be positive, in epochs, not {self.period}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        periods = max(0.0, epoch - start) / self.period
        return self.gamma ** (math.floor(periods) if self.staircase else periods)
