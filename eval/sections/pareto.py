"""What a score costs: which points no other beats both ways, and for which that is sure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eval.intervals import paired_difference
from eval.sections.common_seeds import is_sure
from eval.significance import LEVEL

EQUAL_COSTS = 0.01
"""Costs that differ by less, relatively, count as the same."""

Standing = Literal["not beaten", "beaten", "no evidence that it is beaten"]


@dataclass(frozen=True, kw_only=True)
class PricedPoint:
    """One backbone. cost: less is better. values: seed -> score, of at least one seed.

    parameters: None where not known.
    """

    name: str
    cost: float
    values: Mapping[int, float]
    parameters: float | None = None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other beats: none is as good in both and better in one.

    points: pairs of which more is better in both; equal ones are all in or all out. The places are
    given by falling first value.
    """
    order = sorted(range(len(points)), key=lambda place: points[place], reverse=True)
    front: list[int] = []
    for place in order:
        # Of those with a larger or equal first value the last one kept has the largest second.
        best = points[front[-1]] if front else None
        if best is None or points[place][1] > best[1] or points[place] == best:
            front.append(place)
    return front


def standings(
    points: Sequence[PricedPoint],
    seeds: Sequence[int],
    p_by_image: Callable[[str, str, int], float | None] = lambda own, other, seed: None,
) -> list[Standing]:
    """Of each point, in their order.

    Not beaten are those on the front of the means over `seeds`, of the points that have all of
    these; costs within 1% are equal. Each other is held against one of them, the best of those that
    cost no more, paired by the seeds that both have. It is beaten where the 95% interval of the
    difference is above 0; where they share one seed, where p_by_image(name, name of the other,
    seed) is below 0.05.
    """
    points = _levelled(points)
    full = [point for point in points if set(seeds) <= point.values.keys()]
    means = [sum(point.values[seed] for seed in seeds) / len(seeds) for point in full]
    # By falling -cost: from the cheapest to the dearest, the means rising.
    front = [
        full[place]
        for place in pareto_front([(-p.cost, mean) for p, mean in zip(full, means, strict=True)])
    ]
    return [_standing(point, front, [one.cost for one in front], p_by_image) for point in points]


def _levelled(points: Sequence[PricedPoint]) -> list[PricedPoint]:
    """Each with the cost of the cheapest that costs as much."""
    levels: list[float] = []
    for cost in sorted(point.cost for point in points):
        if not levels or cost > levels[-1] * (1 + EQUAL_COSTS):
            levels.append(cost)
    return [replace(point, cost=levels[bisect_right(levels, point.cost) - 1]) for point in points]


def _standing(
    point: PricedPoint,
    front: Sequence[PricedPoint],
    costs: Sequence[float],
    p_by_image: Callable[[str, str, int], float | None],
) -> Standing:
    if any(point is one for one in front):
        return "not beaten"
    place = bisect_right(costs, point.cost)
    if place == 0:
        return "no evidence that it is beaten"
    best = front[place - 1]
    difference = paired_difference(best.values, point.values)
    if difference is None or difference.mean <= 0:
        return "no evidence that it is beaten"
    beaten = is_sure(difference)
    if difference.n == 1:
        (seed,) = best.values.keys() & point.values.keys()
        p_value = p_by_image(best.name, point.name, seed)
        beaten = p_value is not None and p_value < LEVEL
    return "beaten" if beaten else "no evidence that it is beaten"
