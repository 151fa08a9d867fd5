"""Scores of several rows over the seeds that they have in common, so that they can be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from eval.intervals import Interval
from eval.records import Record
from eval.sections.material import Material
from eval.softened_labels import Pair
from eval.summary import TASK_OF_METRIC

BySeed = Mapping[str, Mapping[int, float]]
"""backbone -> seed -> value."""


def by_seed(records: Iterable[Record], task: str, metric: str) -> dict[str, dict[int, float]]:
    """backbone -> seed -> value, of the runs that have one."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        if record.task != task or record.status != "ok" or metric not in record.metrics:
            continue
        if (value := record.metrics[metric].value) is not None:
            found[record.backbone][record.seed] = value
    return dict(found)


def common_seeds(seeds_of: Mapping[str, Iterable[int]]) -> tuple[int, ...]:
    """The seeds by which most scores count: rows that have all of them, times seeds.

    Rows of fewer seeds neither count nor do they take seeds from those that have more. Of equal
    numbers of scores the one of more rows. Empty where no row has a seed.
    """
    sets: list[frozenset[int]] = [frozenset(seeds) for seeds in seeds_of.values()]
    if not any(sets):
        return ()
    choices: list[frozenset[int]] = [one for one in {*sets, sets[0].intersection(*sets)} if one]

    def worth(choice: frozenset[int]) -> tuple[int, int, list[int]]:
        rows = sum(choice <= one for one in sets)
        return rows * len(choice), rows, sorted(-seed for seed in choice)

    best: frozenset[int] = max(choices, key=worth)
    return tuple(sorted(best))


def of_seeds(count: int, asked: int) -> str:
    """`1 of 3 seeds`."""
    return f"{count} of {asked} seed{'' if asked == 1 else 's'}"


def other_seeds(count: int, seeds: Collection[int], asked: int) -> str:
    """Of a row that lacks one of `seeds` and has `count`: `1 of 3 seeds`, or `other seeds` where
    these are no fewer."""
    return of_seeds(count, asked) if count < len(seeds) else "other seeds"


def p_by_image(material: Material, metric: str, own: str, other: str, seed: int) -> float | None:
    """Of the difference of two rows in one seed, over its test images, not corrected; None where
    no images were kept."""
    return p_of_pairs(material, metric, [Pair(with_it=own, without=other)], seed)


def p_of_pairs(material: Material, metric: str, pairs: Sequence[Pair], seed: int) -> float | None:
    """The same of the mean difference of several pairs of rows; None where one lacks images."""
    found = {
        r.backbone: r
        for r in material.records
        if (r.seed, r.task, r.status) == (seed, TASK_OF_METRIC[metric], "ok")
    }
    if material.bootstrap is None:
        return None
    own: dict[int, Record] = {}
    other: dict[int, Record] = {}
    for place, pair in enumerate(pairs):
        if pair.with_it not in found or pair.without not in found:
            return None
        if (
            material.bootstrap.difference(
                metric, {0: found[pair.with_it]}, {0: found[pair.without]}
            )
            is None
        ):
            return None
        own[place], other[place] = found[pair.with_it], found[pair.without]
    drawn = material.bootstrap.difference(metric, own, other)
    return None if drawn is None else drawn.p_value


def is_sure(difference: Interval | None) -> bool:
    """Whether Student's 95% interval of a difference over seeds is on one side of 0.

    One seed has no interval; differences that are the same in every seed have no spread to make one
    of. Both are no evidence.
    """
    if difference is None or difference.ci95 is None or not difference.std:
        return False
    low, high = difference.ci95
    return (low > 0 or high < 0) and difference.std > 1e-9 * max(1.0, abs(difference.mean))
