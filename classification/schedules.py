"""Learning-rate schedules as closed forms: the factor on the base rate at any epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """What the base learning rate is multiplied with at `epoch`, counted from the start of the run.

    start: the epoch at which the warmup ended; epochs: the run's length.
    """

    def factor(self, epoch: float, *, start: float, epochs: float) -> float: ...


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """Times gamma at each milestone, in epochs. He et al. 2019, section 2.1: 0.1 at 30, 60, 90."""

    milestones: tuple[float, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(set(self.milestones)) or min(self.milestones) <= 0:
            raise ValueError(f"milestones must be positive and increasing, not {self.milestones}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """0.5 (1 + cos(pi t / T)), t and T counted from the warmup's end. He et al. 2019, eq. 3."""

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        progress = min(1.0, max(0.0, (epoch - start) / (epochs - start)))
        return 0.5 * (1 + math.cos(math.pi * progress))


def learning_rate_factor(
    epoch: float, *, schedule: Schedule, warmup_epochs: float, epochs: float
) -> float:
    """Linear from 0 over the warmup (He et al. 2019, section 3.1), then the schedule.

    epoch: how far the run is, in [0, epochs]. Returns the factor on the base learning rate.
    """
    if epoch < warmup_epochs:
        return epoch / warmup_epochs
    return schedule.factor(epoch, start=warmup_epochs, epochs=epochs)
