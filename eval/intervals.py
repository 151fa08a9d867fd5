"""Mean, spread and 95% interval over seeds, and of the difference to a control, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Of n values: mean, sample standard deviation (n - 1) and Student's 95% interval of the mean.

    std and ci95 are None for n = 1, which says nothing about the spread.
    """

    mean: float
    std: float | None
    n: int
    ci95: tuple[float, float] | None


def interval(values: Sequence[float]) -> Interval | None:
    """None for no values. The interval is mean -+ t(0.975, n - 1) std / sqrt(n)."""
    return corrected_interval(values, 0.0)


def corrected_interval(values: Sequence[float], ratio: float) -> Interval | None:
    """Of values from trainings whose images overlap: mean -+ t(0.975, n - 1) std sqrt(1/n + ratio).

    ratio: tested images over training images, of each. Nadeau and Bengio 2003, *Inference for the
    Generalization Error*, the corrected resampled t-test. None for no values.
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean=mean, std=None, n=1, ci95=None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _student_quantile(n - 1) * std * math.sqrt(1 / n + ratio)
    return Interval(mean=mean, std=std, n=n, ci95=(mean - half, mean + half))


def paired_difference(values: Mapping[int, float], control: Mapping[int, float]) -> Interval | None:
    """Interval of values[seed] - control[seed] over the seeds that both have; None for none."""
    return interval([values[seed] - control[seed] for seed in sorted(values.keys() & control)])


def _student_quantile(degrees: int) -> float:
    # Imported late: scipy takes longer to load than `--help` may take.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
