"""What each trick is worth, from records alone: rows of one architecture that differ by one trick.

Nobody has to have asked for an ablation: whichever two recipes differ by exactly one trick, all
knobs of the others equal, are a pair. What the other tricks are is the pair's context.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from json import loads
from typing import Any

from classification.derived import find_recipe
from classification.names import parse_backbone
from classification.recipe import Recipe
from classification.tricks import TRICKS
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
_Trick = tuple[str, str]
"""(name, knobs as text): two that differ in a knob are two tricks."""
_Tricks = frozenset[_Trick]
_Numbers = frozenset[tuple[str, str]]
"""(name, value as text) of each number of a recipe, `optimizer.learning_rate` and the like."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One backbone and what its recipe is made of.

    setting: all else that its pretraining depends on, architecture and data; only rows of one
    setting are compared. base: of the recipe, where it is known; where it is not, the numbers that
    its pretraining recorded stand for it.
    """

    backbone: str
    setting: str
    tricks: _Tricks
    base: str | None = None
    numbers: _Numbers = frozenset()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.tricks)

    def differs_by_tricks_alone(self, other: Made) -> bool:
        """Whether all but the tricks is the same: setting and base.

        Where a base is not known: setting, and the recipes' numbers without those that the tricks
        set which only one of the two has.
        """
        if self.setting != other.setting:
            return False
        if self.base is not None and other.base is not None:
            return self.base == other.base
        differing = {name for name, _ in self.numbers ^ other.numbers}
        return not differing or differing <= _numbers_set_by(self.tricks ^ other.tricks)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two backbones whose recipes differ by `trick` alone: its name, and the knobs that tell it
    from other tricks of that name."""

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
    records = [record for record in records if not record.backbone.startswith("scratch:")]
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
    if not isinstance(recipe, dict) or not isinstance(tricks, dict):
        return None
    named = {key: record.protocol.get(key) for key in ("architecture", "width", "budget", "data")}
    found = _recipe_of(record.backbone)
    return Made(
        backbone=record.backbone,
        setting=canonical(named),
        tricks=_frozen(tricks),
        base=None if found is None else found[1].base.digest(),
        numbers=_numbers_of(recipe),
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
        numbers=_numbers_of(recipe.canonical()),
    )


def _recipe_of(backbone: str) -> tuple[str, Recipe] | None:
    try:
        architecture, name = parse_backbone(backbone)
        return architecture, find_recipe(name)
    except ValueError:
        return None


def _frozen(tricks: Mapping[str, Any]) -> _Tricks:
    return frozenset((name, canonical(knobs)) for name, knobs in tricks.items())


def _numbers_of(recipe: Mapping[str, Any]) -> _Numbers:
    """Of a recipe as plain JSON; those of its optimizer, schedule and augmentation one by one."""
    found: dict[str, Any] = {}
    for name, value in recipe.items():
        if name == "tricks":
            continue
        if isinstance(value, dict):
            found |= {f"{name}.{part}": inner for part, inner in value.items()}
        else:
            found[name] = value
    return frozenset((name, canonical(value)) for name, value in found.items())


@lru_cache(maxsize=1024)
def _numbers_set_by(tricks: _Tricks) -> frozenset[str]:
    """Names of the numbers that these tricks change in a recipe of defaults. Of a trick that is not
    known here it is not known, and so none."""
    plain = Recipe()
    before = _numbers_of(plain.canonical())
    changed: set[tuple[str, str]] = set()
    for name, knobs in tricks:
        if name in TRICKS:
            with suppress(Exception):  # a record may hold any knobs, and these are the trick's code
                after = TRICKS[name](**loads(knobs)).apply(plain)
                changed |= before ^ _numbers_of(after.canonical())
    return frozenset(name for name, _ in changed)


def find_pairs(rows: Iterable[Made]) -> list[Pair]:
    """All pairs, in the order of the rows that have the trick."""
    rows = list(rows)
    distinct = _Distinct(rows)
    names = _names_of({trick for row in rows for trick in row.tricks})
    return [
        Pair(trick=names[trick], having=row.backbone, lacking=lacking.backbone)
        for row in distinct.rows
        for trick in sorted(row.tricks)
        if (lacking := distinct.like(row, row.tricks - {trick})) is not None
    ]


def _names_of(tricks: Iterable[_Trick]) -> dict[_Trick, str]:
    """Each trick's name, and where several have it, the knobs in which they differ:
    `label_noise(0.2)`."""
    knobs: dict[str, dict[_Trick, dict[str, str]]] = {}
    for trick in tricks:
        given = loads(trick[1])
        shown = given if isinstance(given, dict) else {"": given}
        knobs.setdefault(trick[0], {})[trick] = {
            knob: value if isinstance(value, str) else canonical(value)
            for knob, value in shown.items()
        }
    found = {}
    for name, of_name in knobs.items():
        differing = {
            knob
            for one in of_name.values()
            for knob in one
            if any(other.get(knob) != one[knob] for other in of_name.values())
        }
        for trick, given in of_name.items():
            said = [
                value if len(given) == 1 else f"{knob}={value}"
                for knob, value in given.items()
                if knob in differing
            ]
            found[trick] = f"{name}({', '.join(said)})" if said else name
    return found


class _Distinct:
    """Rows without those that repeat the training of an earlier one, found by their tricks."""

    def __init__(self, rows: Iterable[Made]) -> None:
        self._by_tricks: dict[tuple[str, _Tricks], list[Made]] = {}
        self.rows: list[Made] = []
        for row in rows:
            if self.like(row, row.tricks) is None:
                self._by_tricks.setdefault((row.setting, row.tricks), []).append(row)
                self.rows.append(row)

    def like(self, row: Made, tricks: _Tricks) -> Made | None:
        """The first one with these tricks that is otherwise as `row`."""
        candidates = self._by_tricks.get((row.setting, tricks), ())
        return next((one for one in candidates if row.differs_by_tricks_alone(one)), None)


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
                units, values = _units(differences)
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


def _units(differences: Mapping[Pair, Mapping[int, float]]) -> tuple[str, list[float]]:
    """What the interval is taken over: contexts or seeds, whichever there are more of.

    Seeds of one context have its effect in common: they are averaged first, and the contexts are
    what varies. Pairs that share a row are one context, so that no two of them share a training.
    Where there are more seeds than contexts, each seed gives its mean over these contexts, which
    then are taken as given.
    """
    by_pair = list(differences.values())
    common = sorted(set.intersection(*(set(by_seed) for by_seed in by_pair)))
    contexts = _contexts(differences)
    if len(common) >= 2 and len(common) > len(contexts):
        return "seeds", [_mean([by_seed[seed] for by_seed in by_pair]) for seed in common]
    values = [
        _mean([_mean(list(differences[pair].values())) for pair in pairs]) for pairs in contexts
    ]
    return ("contexts" if len(contexts) > 1 else ""), values


def _contexts(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Pairs grouped so that no two groups have a row in common."""
    groups: list[list[Pair]] = []
    for pair in pairs:
        ends = {pair.having, pair.lacking}
        touching = [g for g in groups if any(ends & {p.having, p.lacking} for p in g)]
        groups = [group for group in groups if group not in touching]
        groups.append([*(p for group in touching for p in group), pair])
    return groups


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
    distinct = _Distinct(row for row in rows if row.backbone in scores)
    found: dict[str, dict[str, Shapley]] = {}
    covered: list[Made] = []
    for full in sorted(distinct.rows, key=lambda row: -len(row.tricks)):
        part = any(
            full.tricks < row.tricks and full.differs_by_tricks_alone(row) for row in covered
        )
        if len(full.names) < 2 or part:
            continue
        subsets = _Subsets(full, distinct, scores)
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
        distinct: _Distinct,
        scores: Mapping[str, Mapping[int, float]],
    ) -> None:
        self.full = full
        self.distinct = distinct
        self.scores = scores
        self.knobs = dict(full.tricks)

    def row(self, names: Iterable[str]) -> Made | None:
        tricks = frozenset((name, self.knobs[name]) for name in names)
        return self.distinct.like(self.full, tricks)

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
