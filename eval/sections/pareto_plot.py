"""Scores over what they cost, as a scatter plot with the front that no other beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eval.intervals import Interval, interval
from eval.sections.common_seeds import other_seeds
from eval.sections.pareto import PricedPoint, Standing
from eval.sections.scatter import LABEL_SIZE, MANY, bar, label, name_beside, percent_limits

_SMALLEST, _LARGEST = 24.0, 220.0
"""Areas of the points in square points, of the smallest and the largest network."""
_LOOKS: dict[Standing, tuple[str, str]] = {
    "beaten": ("C0", "full"),
    "no evidence that it is beaten": ("C0", "none"),
    "not beaten": ("C1", "full"),
}
"""Color, and whether it is filled."""


def draw_front(
    points: Sequence[PricedPoint],
    found: Sequence[Standing],
    *,
    seeds: Sequence[int],
    asked: int,
    x: str,
    y: str,
    shown: Callable[[float], float],
) -> Callable[[Any], None]:
    """Means with 95% intervals over seeds; a line joins those that are not beaten.

    found: how each point stands. seeds: that all but a few rows have. asked: how many each row
    should have. shown: of a cost, what stands on the axis.
    """

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        scores = [score_of(point, seeds) for point in points]
        sizes = _areas(points)
        for standing, (color, fill) in _LOOKS.items():
            some = [place for place, one in enumerate(found) if one == standing]
            if not some:
                continue
            where = (
                [shown(points[place].cost) for place in some],
                [scores[place].mean for place in some],
            )
            bars = axes.errorbar(
                *where,
                yerr=bar([scores[place] for place in some]),
                fmt="none",
                ecolor=color,
                elinewidth=1,
                alpha=0.6 if len(points) <= MANY else 0.3,
            )
            for line in bars[2]:
                line.set_zorder(1)
            axes.scatter(
                *where,
                s=[sizes[place] for place in some],
                facecolors=color if fill == "full" else "none",
                edgecolors=color,
                linewidths=1.4,
                alpha=0.85,
                label=standing,
            )
        axes.plot(*_steps(points, found, seeds, shown), color="C1", linewidth=1.2)
        axes.margins(0.1)
        _widen(axes)
        axes.set_ylim(percent_limits(scores))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        # Above the axes, where it hides no point.
        axes.legend(
            fontsize=LABEL_SIZE, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, markerscale=0.7,
            frameon=False, borderaxespad=0.2,
        )  # fmt: skip
        name_beside(
            axes,
            [
                (shown(point.cost), score.mean, label(point.name, lacking(point, seeds, asked)))
                for point, score in zip(points, scores, strict=True)
            ],
        )

    return draw


def score_of(point: PricedPoint, seeds: Sequence[int]) -> Interval:
    """Over `seeds`, of a point that has them all; of any other over its own."""
    own = seeds if set(seeds) <= point.values.keys() else sorted(point.values)
    found = interval([point.values[seed] for seed in own])
    assert found is not None, "a point has a score"
    return found


def lacking(point: PricedPoint, seeds: Sequence[int], asked: int) -> str:
    """`1 of 3 seeds` of a point that lacks one of `seeds` (see `other_seeds`), else nothing."""
    if set(seeds) <= point.values.keys():
        return ""
    return other_seeds(len(point.values), seeds, asked)


def _steps(
    points: Sequence[PricedPoint],
    found: Sequence[Standing],
    seeds: Sequence[int],
    shown: Callable[[float], float],
) -> tuple[list[float], list[float]]:
    """Corners of the staircase under which every other point of all seeds lies."""
    front = sorted(
        (point.cost, score_of(point, seeds).mean)
        for point, one in zip(points, found, strict=True)
        if one == "not beaten"
    )
    x: list[float] = []
    y: list[float] = []
    for cost, score in front:
        if y:
            x.append(shown(cost))
            y.append(y[-1])
        x.append(shown(cost))
        y.append(score)
    return x, y


def _widen(axes: Any) -> None:
    """Costs that hardly differ are drawn as hardly differing, a tenth of them to either side."""
    low, high = axes.get_xlim()
    middle = (low + high) / 2
    reach = max((high - low) / 2, 0.1 * abs(middle))
    axes.set_xlim(middle - reach, middle + reach)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)


def _areas(points: Sequence[PricedPoint]) -> list[float]:
    """The larger the network, the larger the point."""
    largest = max((point.parameters or 0.0 for point in points), default=0.0)
    if not differ_in_size(points):
        return [2 * _SMALLEST] * len(points)
    return [
        _SMALLEST + (_LARGEST - _SMALLEST) * (point.parameters or 0.0) / largest for point in points
    ]


def differ_in_size(points: Sequence[PricedPoint]) -> bool:
    known = {point.parameters for point in points if point.parameters}
    return len(known) > 1
