"""Step decay of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from classification.tricks.schedule import Schedule
from classification.tricks.trick import BAG_OF_TRICKS, Card


@dataclass(frozen=True)
class StepDecay(Schedule):
    """milestones: epochs at which the rate is multiplied with gamma."""

    milestones: tuple[float, ...] = (30, 60, 90)
    gamma: float = 0.1

    name = "step_decay"
    card = Card(
        paper=BAG_OF_TRICKS,
        section="section 2.1",
        equation="eta gamma^(number of milestones passed)",
        effect="the baseline: 0.1 divided by 10 at epochs 30, 60 and 90",
    )

    def __post_init__(self) -> None:
        increasing = list(self.milestones) == sorted(set(self.milestones))
        if not self.milestones or not increasing or self.milestones[0] <= 0:
            raise ValueError(f"milestones must be positive and increasing, not {self.milestones}")
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma must lie in (0, 1), not {self.gamma}")

    def check(self, *, epochs: float) -> None:
        if self.milestones[-1] >= epochs:
            raise ValueError(
                f"milestones {self.milestones} do not fit a training of {epochs:g} epochs: all "
                "must lie before its end"
            )

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
