"""Linear decay of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from classification.tricks.schedule import Schedule, progress
from classification.tricks.trick import Card


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """From the base learning rate to `final` times it, by the same amount in every step.

    final: share of the base rate at the end.
    """

    final: float = 0.0

    name = "linear_decay"
    card = Card(
        paper="Li, Yumer and Ramanan 2020, arXiv:1905.04753",
        section="the schedule that it recommends",
        equation="eta (1 - t / T)",
        effect="robust and strong at every length of training, in the paper's own words",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.final < 1:
            raise ValueError(f"final must lie in [0, 1), not {self.final}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        left = 1 - progress(epoch, start=start, epochs=epochs)
        return self.final + (1 - self.final) * left
