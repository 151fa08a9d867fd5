"""One cycle of the learning rate, up and down."""

from __future__ import annotations

import math
from dataclasses import dataclass

from classification.tricks.schedule import Schedule, progress
from classification.tricks.trick import Card


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From `initial` up to the base learning rate and down to `final`, along cosines.

    share_up: of the run, for the way up. initial, final: shares of the base rate, which is the
    cycle's highest. Smith's way up and down is straight; the cosines are those of fast.ai and
    torch. The momentum, which Smith lets move against the rate, stays where it is.
    """

    share_up: float = 0.3
    initial: float = 1 / 25
    final: float = 1 / 25e4

    name = "one_cycle"
    card = Card(
        paper="Smith and Topin 2018, arXiv:1708.07120",
        section="the 1cycle policy",
        effect="several times fewer steps for the same accuracy with a large highest rate",
        conflicts=("warmup",),
    )

    def __post_init__(self) -> None:
        if not 0 < self.share_up < 1:
            raise ValueError(f"share_up must lie in (0, 1), not {self.share_up}")
        if not 0 < self.initial < 1:
            raise ValueError(f"initial must lie in (0, 1), not {self.initial}")
        if not 0 <= self.final < 1:
            raise ValueError(f"final must lie in [0, 1), not {self.final}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        done = progress(epoch, start=start, epochs=epochs)
        if done < self.share_up:
            return _anneal(self.initial, 1.0, done / self.share_up)
        return _anneal(1.0, self.final, (done - self.share_up) / (1 - self.share_up))


def _anneal(begin: float, end: float, done: float) -> float:
    """Half a cosine from `begin` to `end`; done: in [0, 1]."""
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * done))
