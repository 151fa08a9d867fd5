"""What each trick is worth, from records alone: rows of one architecture that differ by one trick.

Nobody has to have asked for an ablation: whichever two recipes differ by exactly one trick, all
knobs of the others equal, are a pair. What the other tricks are is the pair's context.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from classification.derived import find_recipe
from classification.names import parse_backbone
from classification.recipe import Recipe
from eval.ablation import drawn_orders
from eval.intervals import Interval, interval
from eval.records import Record, canonical
from eval.significance import Verdict, holm, paired_t, verdict_of

METRICS: dict[str, str] = {"top1": "top-1", "mAP": "mAP", "mIoU": "mIoU"}
"""What tricks are judged by, and how it is shown."""

_MOST_ORDERS = 1000
_MOST_EXACT = 10
"""Tricks up to which all subsets of them are looked for."""

Scores = Mapping[str, Mapping[str, Mapping[int, float]]]
"""metric -> backbone -> seed -> value"""
_Tricks = frozenset[tuple[str, str]]
"""(name, knobs as text) of each trick of a recipe."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One backbone and what its recipe is made of.

    setting: all else that its pretraining depends on, architecture and data; only rows of one
    setting are compared. base: of the recipe, where it is known.
    """

    backbone: str
    setting: str
    tricks: _Tricks
    base: str | None = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.tricks)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two backbones whose recipes differ by `trick` alone."""

    trick: str
    having: str
    lacking: str


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Of one trick by one metric. difference: its mean, and the interval over the units.

    units: "contexts", "seeds", or "" for a single difference. differences: pair -> seed -> value.
    p_value: after Holm's correction over the tricks. verdict: None where there is no difference.
    """

    trick: str
    metric: str
    difference: Interval
    units: str
    differences: Mapping[Pair, Mapping[int, float]]
    p_value: float | None
    verdict: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Shapley:
    """What a trick adds, averaged over the orders of adding. orders: how many; None for all there
    are. error: standard error over the orders; None where they are all there are."""

    value: float
    error: float | None
    orders: int | None


def known_rows(records: Iterable[Record]) -> tuple[dict[str, Made], list[str]]:
    """backbone -> what it is made of; and the backbones with tricks of which that is not known."""
    records = [record for record in records if record.control is not None]
    known: dict[str, Made] = {}
    for record in records:
        if record.task == "classification" and record.backbone not in known:
            made = _of_protocol(record)
            if made is not None:
                known[record.backbone] = made
    unknown = []
    for record in {record.backbone: record for record in records}.values():
        if record.backbone in known:
            continue
        made = _of_name(record.backbone)
        if made is not None:
            known[record.backbone] = made
        elif record.tricks:
            unknown.append(record.backbone)
    return known, unknown


def _of_protocol(record: Record) -> Made | None:
    """From what the pretraining recorded of itself."""
    recipe = record.protocol.get("recipe")
    tricks = recipe.get("tricks") if isinstance(recipe, dict) else None
    if not isinstance(tricks, dict):
        return None
    named = {key: record.protocol.get(key) for key in ("architecture", "width", "budget", "data")}
    found = _recipe_of(record.backbone)
    return Made(
        backbone=record.backbone,
        setting=canonical(named),
        tricks=_frozen(tricks),
        base=None if found is None else found[1].base.digest(),
    )


def _of_name(backbone: str) -> Made | None:
    """From what the name says today; None for a name of no recipe of ours."""
    if (found := _recipe_of(backbone)) is None:
        return None
    architecture, recipe = found
    return Made(
        backbone=backbone,
        setting=architecture,
        tricks=_frozen(recipe.canonical()["tricks"]),
        base=recipe.base.digest(),
    )


def _recipe_of(backbone: str) -> tuple[str, Recipe] | None:
    try:
        architecture, name = parse_backbone(backbone)
        return architecture, find_recipe(name)
    except ValueError:
        return None


def _frozen(tricks: Mapping[str, Any]) -> _Tricks:
    return frozenset((name, canonical(knobs)) for name, knobs in tricks.items())


def find_pairs(rows: Iterable[Made]) -> list[Pair]:
    """All pairs, in the order of the rows that have the trick."""
    rows = list(rows)
    by_tricks = _by_tricks(rows)
    pairs = []
    for row in by_tricks.values():
        for trick in sorted(row.tricks):
            lacking = by_tricks.get((row.setting, row.tricks - {trick}))
            if lacking is not None and _same_base(row, lacking):
                pairs.append(Pair(trick=trick[0], having=row.backbone, lacking=lacking.backbone))
    return pairs


def _by_tricks(rows: Iterable[Made]) -> dict[tuple[str, _Tricks], Made]:
    """Of several rows that are one training, the first."""
    found: dict[tuple[str, _Tricks], Made] = {}
    for row in rows:
        found.setdefault((row.setting, row.tricks), row)
    return found


def _same_base(one: Made, other: Made) -> bool:
    return one.base is None or other.base is None or one.base == other.base


def worth_of_tricks(pairs: Iterable[Pair], scores: Scores) -> list[Worth]:
    """Of each trick by each metric that some pair has been measured by, corrected over the tricks
    of a metric."""
    found: list[Worth] = []
    by_trick: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_trick.setdefault(pair.trick, []).append(pair)
    for metric in METRICS:
        of_metric = scores.get(metric, {})
        measured = []
        for trick, group in by_trick.items():
            differences = {}
            for pair in group:
                having, lacking = of_metric.get(pair.having, {}), of_metric.get(pair.lacking, {})
                seeds = sorted(having.keys() & lacking.keys())
                if seeds:
                    differences[pair] = {seed: having[seed] - lacking[seed] for seed in seeds}
            if differences:
                units, values = _units(list(differences.values()))
                measured.append((trick, differences, units, values))
        corrected = holm([paired_t(values) for *_, values in measured])
        for (trick, differences, units, values), p_value in zip(measured, corrected, strict=True):
            difference = interval(values)
            assert difference is not None, "there is a difference"
            found.append(
                Worth(
                    trick=trick,
                    metric=metric,
                    difference=difference,
                    units=units,
                    differences=differences,
                    p_value=p_value,
                    verdict=verdict_of(difference.mean, p_value),
                )
            )
    return found


def _units(contexts: Sequence[Mapping[int, float]]) -> tuple[str, list[float]]:
    """What the interval is taken over: contexts or seeds, whichever there are more of.

    No two pairs of a trick share a training (the trick is in one row and not in the other), but
    seeds of one context have its effect in common: they are averaged first, and the contexts are
    what varies. Where there are more seeds than contexts, each seed gives its mean over these
    contexts, which then are taken as given.
    """
    common = sorted(set.intersection(*(set(context) for context in contexts)))
    if len(common) >= 2 and len(common) > len(contexts):
        return "seeds", [_mean([context[seed] for context in contexts]) for seed in common]
    values = [_mean(list(context.values())) for context in contexts]
    return ("contexts" if len(contexts) > 1 else ""), values


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def shapley_values(
    rows: Iterable[Made], scores: Mapping[str, Mapping[int, float]]
) -> dict[str, dict[str, Shapley]]:
    """backbone -> trick -> its Shapley value by one metric, of backbones with rows enough for it.

    Enough are the rows of all subsets of its tricks, or all prefixes of at least two different ones
    of the orders that `drawn_orders` gives, from the first one on. Parts of such a recipe are not
    looked at: which of their orders are there is no chance. scores: backbone -> seed -> value;
    taken over the seeds that all these rows have.
    """
    by_tricks = _by_tricks(row for row in rows if row.backbone in scores)
    found: dict[str, dict[str, Shapley]] = {}
    covered: list[Made] = []
    for full in sorted(by_tricks.values(), key=lambda row: -len(row.tricks)):
        part = any(full.setting == row.setting and full.tricks < row.tricks for row in covered)
        if len(full.names) < 2 or part:
            continue
        subsets = _Subsets(full, by_tricks, scores)
        values = subsets.exact() or subsets.sampled()
        if values:
            found[full.backbone] = values
            covered.append(full)
    return found


class _Subsets:
    """The rows whose recipes are parts of one recipe."""

    def __init__(
        self,
        full: Made,
        by_tricks: Mapping[tuple[str, _Tricks], Made],
        scores: Mapping[str, Mapping[int, float]],
    ) -> None:
        self.full = full
        self.by_tricks = by_tricks
        self.scores = scores
        self.knobs = dict(full.tricks)

    def row(self, names: Iterable[str]) -> Made | None:
        tricks = frozenset((name, self.knobs[name]) for name in names)
        row = self.by_tricks.get((self.full.setting, tricks))
        return row if row is not None and _same_base(row, self.full) else None

    def values(self, subsets: Iterable[frozenset[str]]) -> dict[frozenset[str], float] | None:
        """The mean of each over the seeds that all have; None where one is missing."""
        rows = {subset: self.row(subset) for subset in subsets}
        by_seed = [self.scores[row.backbone] for row in rows.values() if row is not None]
        if len(by_seed) < len(rows):
            return None
        seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
        if not seeds:
            return None
        return {
            subset: _mean([values[seed] for seed in seeds])
            for subset, values in zip(rows, by_seed, strict=True)
        }

    def exact(self) -> dict[str, Shapley] | None:
        """Sum over S without t of |S|! (n - |S| - 1)! / n! (v(S + t) - v(S)): Shapley 1953."""
        names = sorted(self.full.names)
        n = len(names)
        if n > _MOST_EXACT or len(self.by_tricks) < 2**n:
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
            name: Shapley(
                value=math.fsum(
                    weight[len(subset)] * (values[subset | {name}] - values[subset])
                    for subset in subsets
                    if name not in subset
                ),
                error=None,
                orders=None,
            )
            for name in names
        }

    def sampled(self) -> dict[str, Shapley] | None:
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
        added: dict[str, list[float]] = {name: [] for name in sorted(self.full.names)}
        for order in orders:
            steps = list(_prefixes(order))
            for before, after in pairwise(steps):
                (name,) = after - before
                added[name].append(values[after] - values[before])
        result = {}
        for name, gains in added.items():
            spread = interval(gains)
            assert spread is not None, "two orders or more"
            assert spread.std is not None, "two orders or more"
            error = spread.std / math.sqrt(spread.n)
            result[name] = Shapley(value=spread.mean, error=error, orders=len(orders))
        return result


def _prefixes(order: Sequence[str]) -> Iterator[frozenset[str]]:
    for count in range(len(order) + 1):
        yield frozenset(order[:count])
