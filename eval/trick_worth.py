"""What each trick is worth: the mean difference that its pairs of rows make, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classification.names import split_recipe
from classification.recipes import FINE_TUNINGS, RECIPES
from eval.intervals import Interval, interval
from eval.significance import Verdict, holm, paired_t, verdict_of
from eval.specs import tuning_of
from eval.trick_pairs import Pair

if TYPE_CHECKING:
    from eval.image_bootstrap import ByImage

METRICS: dict[str, str] = {
    "top1": "top-1",
    "mAP": "mAP",
    "mIoU": "mIoU",
    "tuned_top1": "tuned top-1",
}
"""What tricks are judged by, and how it is shown."""

Scores = Mapping[str, Mapping[str, Mapping[int, float]]]
"""metric -> backbone -> seed -> value"""
BootstrapOver = Callable[[str, Sequence[tuple[Pair, int]]], "ByImage | None"]
"""From a metric and differences (pair, seed) to their mean, by image; None where it is not known"""

SHORT_BUNDLE = 3
"""So many tricks of a bundle are told one by one."""
_SAME = 0.02  # points: what numbers and evidence, which is float32, may differ by


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Of one trick, or of the tricks of a bundle together, by one metric.

    difference: its mean, and the interval over the units. units: "contexts", "seeds", "images", or
    "" for a single difference. differences: pair -> seed -> value. p_value: after Holm's correction
    over the `rows` tricks and bundles of that metric. verdict: None where there is no difference.
    """

    trick: str
    metric: str
    difference: Interval
    units: str
    differences: Mapping[Pair, Mapping[int, float]]
    p_value: float | None
    verdict: Verdict | None
    rows: int = 1
    bundle: tuple[str, ...] = ()

    @property
    def recipes(self) -> str | None:
        """Of a long bundle "finetune minus plain", where each of its pairs is of these two
        registered recipes."""
        if len(self.bundle) <= SHORT_BUNDLE:
            return None
        (first, *more) = {_registered(pair) for pair in self.differences}
        return None if more or first is None else f"{first[0]} minus {first[1]}"


def _registered(pair: Pair) -> tuple[str, str] | None:
    """The recipes of both rows; None where one of them is none that has a name of its own."""
    having, lacking = tuning_of(pair.having), tuning_of(pair.lacking)
    if having in FINE_TUNINGS and lacking in FINE_TUNINGS:
        return having, lacking
    rows = split_recipe(pair.having), split_recipe(pair.lacking)
    found = [row[1] for row in rows if row is not None and row[1] in RECIPES]
    return (found[0], found[1]) if len(found) == 2 else None


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Before the correction."""

    trick: str
    bundle: tuple[str, ...]
    differences: Mapping[Pair, Mapping[int, float]]
    difference: Interval
    units: str
    p_value: float | None = field(default=None)


def worth_of_tricks(
    pairs: Mapping[str, Iterable[Pair]], scores: Scores, by_image: BootstrapOver | None = None
) -> list[Worth]:
    """Of each trick by each metric that some pair has been measured by, corrected over the tricks
    and bundles of a metric. pairs: by metric, see `find_pairs`.

    A bundle is left out where each of its tricks has been measured alone: it would say no more, and
    the correction would take from what the others say. by_image: asked where there is a single
    difference, or several of one seed that share their rows, so that nothing else has a spread.
    """
    found: list[Worth] = []
    for metric in METRICS:
        of_metric = scores.get(metric, {})
        by_trick: dict[str, list[Pair]] = {}
        for pair in pairs.get(metric, ()):
            by_trick.setdefault(pair.trick, []).append(pair)
        measured = []
        alone: set[str] = set()
        for trick, group in by_trick.items():
            bundle, differences = group[0].bundle, _differences(group, of_metric)
            if not differences or (bundle and alone.issuperset(bundle)):
                continue
            if not bundle:
                alone.add(trick)
            measured.append(_measure(trick, bundle, metric, differences, by_image))
        corrected = holm([one.p_value for one in measured])
        found += [
            Worth(
                trick=one.trick,
                bundle=one.bundle,
                metric=metric,
                difference=one.difference,
                units=one.units,
                differences=one.differences,
                p_value=p_value,
                verdict=verdict_of(one.difference.mean, p_value),
                rows=sum(p is not None for p in corrected),
            )
            for one, p_value in zip(measured, corrected, strict=True)
        ]
    return found


def _differences(
    pairs: Iterable[Pair], of_metric: Mapping[str, Mapping[int, float]]
) -> dict[Pair, dict[int, float]]:
    found = {}
    for pair in pairs:
        having, lacking = of_metric.get(pair.having, {}), of_metric.get(pair.lacking, {})
        if seeds := sorted(having.keys() & lacking.keys()):
            found[pair] = {seed: having[seed] - lacking[seed] for seed in seeds}
    return found


def _measure(
    trick: str,
    bundle: tuple[str, ...],
    metric: str,
    differences: Mapping[Pair, Mapping[int, float]],
    by_image: BootstrapOver | None,
) -> _Measured:
    units, values = _units(differences)
    difference, p_value = interval(values), paired_t(values)
    assert difference is not None, "there is a difference"
    single = all(len(by_seed) == 1 for by_seed in differences.values())
    if len(values) == 1 and single and by_image is not None:
        cells = [(pair, seed) for pair, by_seed in differences.items() for seed in by_seed]
        seen = by_image(metric, cells)
        if seen is not None and abs(seen.mean - difference.mean) <= _SAME:
            difference = Interval(mean=difference.mean, std=None, n=seen.n_images, ci95=seen.ci95)
            units, p_value = "images", seen.p_value
    return _Measured(
        trick=trick,
        bundle=bundle,
        differences=differences,
        difference=difference,
        units=units,
        p_value=p_value,
    )


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
