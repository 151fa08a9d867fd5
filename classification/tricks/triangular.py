"""Cyclical learning rates in triangles."""

from __future__ import annotations

from dataclasses import dataclass

from classification.tricks.schedule import Schedule
from classification.tricks.trick import Card


@dataclass(frozen=True)
class Triangular(Schedule):
    """From `lowest` straight up to the base learning rate and down again, again and again.

    period: epochs of one way up and down together, twice the paper's stepsize, which it finds
    good at 2 to 10 epochs. lowest: share of the base rate; the paper sets it to 1/3 or 1/4.
    """

    period: float = 8.0
    lowest: float = 0.25

    name = "triangular"
    card = Card(
        paper="Smith 2017, arXiv:1506.01186",
        section="section 3",
        effect=(
            "not reported for full trainings on ImageNet; on CIFAR-10 81.4 after 25,000 steps "
            "instead of 70,000, with triangles that shrink (triangular2)"
        ),
        conflicts=("warmup",),
    )

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise ValueError(f"period must be positive, in epochs, not {self.period}")
        if not 0 <= self.lowest < 1:
            raise ValueError(f"lowest must lie in [0, 1), not {self.lowest}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        cycle = max(0.0, epoch - start) / self.period % 1
        return self.lowest + (1 - self.lowest) * (1 - abs(2 * cycle - 1))
