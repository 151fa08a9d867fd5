"""What all learning-rate schedules share: a closed form in the epoch, and one place in a recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from classification.tricks.trick import Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Schedule(Trick):
    """A trick that is the recipe's schedule."""

    kind = "schedule"
    alternatives: ClassVar[str | None] = "schedule"

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        """What the base learning rate is multiplied with, never negative.

        epoch: in [start, epochs], counted from the start of the run; start: where the warmup
        ended (0 without one); epochs: the run's length. All in the recipe's epochs.
        """
        raise NotImplementedError

    def check(self, *, epochs: float) -> None:
        """Raises ValueError where the schedule does not fit a run of this length."""

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, schedule=self)


def progress(epoch: float, *, start: float, epochs: float) -> float:
    """How much of the run after the warmup is over, in [0, 1]."""
    return min(1.0, max(0.0, (epoch - start) / (epochs - start)))
