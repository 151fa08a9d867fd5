"""Accuracy on parts of the images, small ones or dark ones, against all the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PARTS = 4
_NORMAL_QUANTILE = 1.959963984540054  # 0.975


@dataclass(frozen=True, kw_only=True)
class Slice:
    """low, high: the values of its images, both included. n, right: images, and right ones.

    n_rest, right_rest: of all the others. p_value: two-sided, of the same accuracy in both
    (Fisher's exact test), for this slice alone.
    """

    low: float
    high: float
    n: int
    right: int
    n_rest: int
    right_rest: int
    p_value: float

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.right / self.n

    @property
    def difference(self) -> float:
        """Accuracy minus that of the rest, in points."""
        return self.accuracy - 100 * self.right_rest / self.n_rest


def quartile_slices(values: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Slice, ...]:
    """Up to four parts of about equal size by value, lowest first; images of one value stay
    together, in the quarter of their mean rank. None where all values are the same.

    values: (n,) finite numbers; right: (n,) bool.
    """
    from scipy.stats import fisher_exact  # which takes longer to load than `--help` may take

    value, correct = np.asarray(values, np.float64), np.asarray(right, bool)
    assert value.shape == correct.shape, "a value for each answer"
    if not value.size:
        return ()
    ranked = np.sort(value)
    rank = np.searchsorted(ranked, value, "left") + np.searchsorted(ranked, value, "right")
    part = PARTS * rank // (2 * len(value))
    found = []
    for number in np.unique(part):
        inside = part == number
        n, hits = int(inside.sum()), int(correct[inside].sum())
        n_rest, hits_rest = len(value) - n, int(correct.sum()) - hits
        if not n_rest:
            return ()
        table = [[hits, n - hits], [hits_rest, n_rest - hits_rest]]
        found.append(
            Slice(
                low=float(value[inside].min()),
                high=float(value[inside].max()),
                n=n,
                right=hits,
                n_rest=n_rest,
                right_rest=hits_rest,
                p_value=float(fisher_exact(table).pvalue),
            )
        )
    return tuple(found)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """95% interval of a share in percent (Wilson 1927), which stays within 0..100. n: above 0."""
    z, share = _NORMAL_QUANTILE, right / n
    center = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = ((center + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    # At 0 and n one end is exact, but for rounding.
    return 100 * (low if right else 0.0), 100 * (high if right < n else 1.0)
