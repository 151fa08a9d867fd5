"""Cosine decay with warm restarts (SGDR)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from classification.tricks.schedule import Schedule
from classification.tricks.trick import Card


def restart_cycle(t: float, *, period: float, multiplier: float) -> tuple[float, float]:
    """How long the cycle has run at time t, and how long it will: T_cur and T_i of SGDR.

    The first cycle lasts `period`, each further one `multiplier` (at least 1) times as long as
    the one before. A cycle's end is the next one's beginning.
    """
    if multiplier == 1:
        return t % period, period
    # t ends the cycles before the n-th, period (multiplier^n - 1) / (multiplier - 1), with n = 0
    # the first; rounding may put n one cycle off, which the loops repair.
    n = max(0, int(math.log(t / period * (multiplier - 1) + 1, multiplier)))

    def begin(cycle: int) -> float:
        return period * (multiplier**cycle - 1) / (multiplier - 1)

    while begin(n) > t:
        n -= 1
    while begin(n + 1) <= t:
        n += 1
    return t - begin(n), period * multiplier**n


@dataclass(frozen=True)
class WarmRestarts(Schedule):
    """A cosine from the base learning rate to `final` times it, again and again.

    period: the first cycle's length in epochs, counted from the warmup's end. multiplier: how
    much longer each further cycle is. final: share of the base rate at a cycle's end. A run that
    ends with a cycle ends at `final`; a cosine is cut where the run is over before it.
    """

    period: float = 10.0
    multiplier: float = 2.0
    final: float = 0.0

    name = "warm_restarts"
    card = Card(
        paper="Loshchilov and Hutter 2017, arXiv:1608.03983",
        section="section 3",
        equation="eq. 5: eta_min + 0.5 (eta_max - eta_min)(1 + cos(pi T_cur / T_i))",
        effect="not reported on full-size ImageNet; CIFAR-10 and CIFAR-100 in section 4",
    )

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise ValueError(f"period must be positive, in epochs, not {self.period}")
        if not self.multiplier >= 1:
            raise ValueError(f"multiplier must be at least 1, not {self.multiplier}")
        if not 0 <= self.final < 1:
            raise ValueError(f"final must lie in [0, 1), not {self.final}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        current, length = restart_cycle(
            max(0.0, epoch - start), period=self.period, multiplier=self.multiplier
        )
        # At the run's end no further cycle begins: it would lift the rate of a cooldown.
        over = epoch >= epochs and min(current, length - current) < 1e-9 * epochs
        cosine = 0.0 if over else 0.5 * (1 + math.cos(math.pi * current / length))
        return self.final + (1 - self.final) * cosine
