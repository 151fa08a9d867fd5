"""Whether a difference is more than chance, over several rows at once, and how ranks agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "no evidence"]

LEVEL = 0.05
SMALLEST_P = 1e-4
"""Of a bootstrap: no number of draws that is taken here tells smaller ones apart. Small enough to
be beyond chance after correction over hundreds of rows."""
_ROUNDING = 1e-9  # scores are percent, and hold some 14 digits
_FIELLER = 0.437  # variance of atanh(tau) times (n - 4)
_NORMAL_QUANTILE = 1.959963984540054  # 0.975


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Kendall's tau-b of n pairs. ci95: None for n < 5, where the approximation has no variance.

    p_value: two-sided, of no association; exact for few pairs without ties.
    """

    tau: float
    ci95: tuple[float, float] | None
    n: int
    p_value: float


def paired_t(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's paired t-test that the mean difference is 0.

    None for fewer than two differences, and for equal ones that are not 0: without any spread
    there is nothing to hold them against, and t would be infinite. All 0: 1.
    """
    n = len(differences)
    if n < 2:
        return None
    mean = math.fsum(differences) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1))
    if std <= _ROUNDING * max(1.0, abs(mean)):
        return 1.0 if abs(mean) <= _ROUNDING else None
    # Imported late: scipy takes longer to load than `--help` may take.
    from scipy.special import stdtr

    return min(1.0, float(2 * stdtr(n - 1, -abs(mean) / (std / math.sqrt(n)))))


def holm(p_values: Sequence[float | None], *, tests: int | None = None) -> list[float | None]:
    """p-values corrected for their number (Holm 1979), in the order given; None is no test.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than one before it; so
    the chance that any true null hypothesis has a value below 0.05 is at most 0.05. tests: how many
    the given ones were chosen from; the others then count as if their p were 1.
    """
    given = [(p, place) for place, p in enumerate(p_values) if p is not None]
    count = len(given) if tests is None else tests
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(sorted(given)):
        largest = max(largest, min(1.0, (count - rank) * p))
        corrected[place] = largest
    return corrected


def verdict_of(
    difference: float | None, p_value: float | None, *, higher_is_better: bool = True
) -> Verdict | None:
    """p_value: after correction. None where there is no difference to judge."""
    if difference is None:
        return None
    if p_value is None or p_value >= LEVEL or difference == 0:
        return "no evidence"
    return "better" if (difference > 0) == higher_is_better else "worse"


def explain_no_evidence(
    ci95: tuple[float, float] | None, verdict: Verdict | None, p_value: float | None, rows: int
) -> str:
    """Why there is "no evidence" of a difference whose interval is without 0; empty where it is
    not so. p_value: after correction over the `rows`; None where nothing could be tested."""
    if ci95 is None or verdict != "no evidence" or ci95[0] <= 0 <= ci95[1]:
        return ""
    if p_value is None:
        return "no spread to test against"
    if rows < 2:
        return ""
    return (
        f"the interval holds for this row alone; over the {rows} rows of the column the difference "
        "could still be chance (Holm)"
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Kendall's tau-b of the pairs that are numbers; None for fewer than three, or where x or y is
    the same in all.

    The interval is tanh(atanh(tau) -+ 1.96 sqrt(0.437 / (n - 4))): Fieller, Hartley and Pearson,
    Biometrika 44 (1957); good for |tau| < 0.8 (Bonett and Wright, Psychometrika 65 (2000)), and an
    approximation for few pairs. A tau of 1, whose atanh is infinite, is taken as half a discordant
    pair less.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values against {len(y)}: expected pairs")
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    n = len(pairs)
    if n < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    from scipy.stats import kendalltau

    found = kendalltau(*zip(*pairs, strict=True))
    tau = min(1.0, max(-1.0, float(found.statistic)))
    return RankCorrelation(tau=tau, ci95=_tau_ci95(tau, n), n=n, p_value=float(found.pvalue))


def _tau_ci95(tau: float, n: int) -> tuple[float, float] | None:
    if n < 5:
        return None
    bound = 1 - 2 / (n * (n - 1))
    center = math.atanh(min(bound, max(-bound, tau)))
    half = _NORMAL_QUANTILE * math.sqrt(_FIELLER / (n - 4))
    return min(tau, math.tanh(center - half)), max(tau, math.tanh(center + half))
