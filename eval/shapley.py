"""Shapley values of tricks, from the rows of the subsets of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt

from eval.ablation import drawn_orders
from eval.intervals import Interval, interval
from eval.made import Distinct, Made
from eval.significance import Verdict, holm, paired_t, verdict_of

_MOST_ORDERS = 1000
_MOST_EXACT = 10
"""Tricks up to which all subsets of them are looked for."""

_Values = dict[frozenset[str], npt.NDArray[np.float64]]
"""subset of the tricks' names -> its score with each seed"""


@dataclass(frozen=True, kw_only=True)
class Shapley:
    """What a trick adds, averaged over the orders of adding, one value for each seed.

    value: Student's interval over the seeds. orders: how many; None for all there are. error:
    standard error of the mean over the orders; None where they are all there are. p_value: after
    Holm's correction over the `rows` tricks.
    """

    value: Interval
    error: float | None
    orders: int | None
    p_value: float | None
    verdict: Verdict | None
    rows: int


def shapley_values(
    rows: Iterable[Made], scores: Mapping[str, Mapping[int, float]]
) -> dict[str, dict[str, Shapley]]:
    """backbone -> trick -> its Shapley value by one metric, of backbones with rows enough for it.

    Enough are the rows of all subsets of its tricks, or all prefixes of at least two different ones
    of the orders that `drawn_orders` gives, from the first one on. Parts of such a recipe are not
    looked at: which of their orders are there is no chance. scores: backbone -> seed -> value;
    of the seeds that all these rows have.
    """
    distinct = Distinct(row for row in rows if row.backbone in scores)
    found: dict[str, dict[str, Shapley]] = {}
    covered: list[Made] = []
    for full in sorted(distinct.rows, key=lambda row: -len(row.tricks)):
        part = any(
            full.tricks < row.tricks and full.differs_by_tricks_alone(row) for row in covered
        )
        if len(full.names) < 2 or part:
            continue
        subsets = _Subsets(full, distinct, scores)
        gains = subsets.exact() or subsets.sampled()
        if gains:
            found[full.backbone] = _judged(gains)
            covered.append(full)
    return found


@dataclass(frozen=True, kw_only=True)
class _Gain:
    """by_seed: the Shapley value of each seed."""

    by_seed: Sequence[float]
    error: float | None = None
    orders: int | None = None


def _judged(gains: Mapping[str, _Gain]) -> dict[str, Shapley]:
    corrected = holm([paired_t(gain.by_seed) for gain in gains.values()])
    found = {}
    for (name, gain), p_value in zip(gains.items(), corrected, strict=True):
        value = interval(gain.by_seed)
        assert value is not None, "a seed or more"
        found[name] = Shapley(
            value=value,
            error=gain.error,
            orders=gain.orders,
            p_value=p_value,
            verdict=verdict_of(value.mean, p_value),
            rows=sum(p is not None for p in corrected),
        )
    return found


class _Subsets:
    """The rows whose recipes are parts of one recipe."""

    def __init__(
        self,
        full: Made,
        distinct: Distinct,
        scores: Mapping[str, Mapping[int, float]],
    ) -> None:
        self.full = full
        self.distinct = distinct
        self.scores = scores
        self.knobs = dict(full.tricks)

    def row(self, names: Iterable[str]) -> Made | None:
        tricks = frozenset((name, self.knobs[name]) for name in names)
        return self.distinct.like(self.full, tricks)

    def values(self, subsets: Iterable[frozenset[str]]) -> _Values | None:
        """Of the seeds that all have; None where a row or such a seed is missing."""
        rows = {subset: self.row(subset) for subset in subsets}
        by_seed = [self.scores[row.backbone] for row in rows.values() if row is not None]
        if len(by_seed) < len(rows):
            return None
        seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
        if not seeds:
            return None
        return {
            subset: np.array([values[seed] for seed in seeds])
            for subset, values in zip(rows, by_seed, strict=True)
        }

    def exact(self) -> dict[str, _Gain] | None:
        """Sum over S without t of |S|! (n - |S| - 1)! / n! (v(S + t) - v(S)): Shapley 1953."""
        names = sorted(self.full.names)
        n = len(names)
        if n > _MOST_EXACT or len(self.distinct.rows) < 2**n:
            return None
        subsets = [
            frozenset(name for bit, name in enumerate(names) if mask >> bit & 1)
            for mask in range(2**n)
        ]
        values = self.values(subsets)
        if values is None:
            return None
        weight = [1 / (n * math.comb(n - 1, size)) for size in range(n)]
        return {
            name: _Gain(
                by_seed=np.sum(
                    [
                        weight[len(subset)] * (values[subset | {name}] - values[subset])
                        for subset in subsets
                        if name not in subset
                    ],
                    axis=0,
                ).tolist()
            )
            for name in names
        }

    def sampled(self) -> dict[str, _Gain] | None:
        orders = []
        for order in islice(drawn_orders(sorted(self.full.names)), _MOST_ORDERS):
            if any(self.row(prefix) is None for prefix in _prefixes(order)):
                break
            orders.append(order)
        if len(set(orders)) < 2:
            return None
        values = self.values({prefix for order in orders for prefix in _prefixes(order)})
        if values is None:
            return None
        added: dict[str, list[npt.NDArray[np.float64]]] = {
            name: [] for name in sorted(self.full.names)
        }
        for order in orders:
            for before, after in pairwise(_prefixes(order)):
                (name,) = after - before
                added[name].append(values[after] - values[before])
        return {name: _over_orders(np.array(gains)) for name, gains in added.items()}


def _over_orders(gains: npt.NDArray[np.float64]) -> _Gain:
    """gains: (orders, seeds)."""
    of_orders = gains.mean(axis=1)
    error = float(of_orders.std(ddof=1)) / math.sqrt(len(of_orders))
    return _Gain(by_seed=gains.mean(axis=0).tolist(), error=error, orders=len(of_orders))


def _prefixes(order: Sequence[str]) -> Iterator[frozenset[str]]:
    for count in range(len(order) + 1):
        yield frozenset(order[:count])
