"""What a score costs: the points that no other beats both ways, and their plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eval.sections.upstream_plots import LEADER, MOST_LABELS, spread
from eval.text import in_one_line

_LONGEST_LABEL = 28
_LINE_HEIGHT = 0.045
_SMALLEST, _LARGEST = 20.0, 260.0
"""Areas of the points in square points, of the smallest and the largest network."""


@dataclass(frozen=True, kw_only=True)
class PricedPoint:
    """One backbone. rate: larger is cheaper. parameters: None where not known."""

    name: str
    rate: float
    score: float
    parameters: float | None


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


def draw_front(
    points: Sequence[PricedPoint], *, x: str, y: str, shown: Callable[[float], float]
) -> Callable[[Any], None]:
    """Scores over what they cost; cheaper is to the right, a line joins the front.

    shown: of a rate, what stands on the axis. The best by score are named, at most MOST_LABELS.
    """

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        front = [points[i] for i in pareto_front([(p.rate, p.score) for p in points])]
        others = [point for point in points if point not in front]
        largest = max((p.parameters or 0 for p in points), default=0)
        for some, label in ((others, "beaten"), (front, "Pareto front")):
            axes.scatter(
                [shown(point.rate) for point in some],
                [point.score for point in some],
                s=[_area(point, largest) for point in some],
                alpha=0.75,
                label=label if some else None,
            )
        steps = _steps(front)
        axes.plot([shown(rate) for rate, _ in steps], [score for _, score in steps], color="C1")
        axes.margins(0.12)
        _widen(axes)
        if shown(2.0) < shown(1.0):  # a cost: less of it is cheaper
            axes.invert_xaxis()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        # Above the axes, where it hides no point.
        axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, markerscale=0.6)
        _name(axes, points, shown)

    return draw


def _widen(axes: Any) -> None:
    """Costs that hardly differ are drawn as hardly differing, a tenth of them to either side."""
    low, high = axes.get_xlim()
    middle = (low + high) / 2
    reach = max((high - low) / 2, 0.1 * abs(middle))
    axes.set_xlim(middle - reach, middle + reach)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)


def _area(point: PricedPoint, largest: float) -> float:
    if not point.parameters or not largest:
        return _SMALLEST
    return _SMALLEST + (_LARGEST - _SMALLEST) * point.parameters / largest


def _steps(front: Sequence[PricedPoint]) -> list[tuple[float, float]]:
    """Corners of the staircase under which every other point lies."""
    corners: list[tuple[float, float]] = []
    for point in front:
        if corners:
            corners.append((point.rate, corners[-1][1]))
        corners.append((point.rate, point.score))
    return corners


def _name(axes: Any, points: Sequence[PricedPoint], shown: Callable[[float], float]) -> None:
    named = sorted(points, key=lambda point: -point.score)[:MOST_LABELS]
    low, high = axes.get_ylim()
    heights = spread([(p.score - low) / (high - low) for p in named], apart=_LINE_HEIGHT)
    for point, height in zip(named, heights, strict=True):
        axes.annotate(
            _short(point.name),
            (shown(point.rate), point.score),
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8 if len(named) <= 1 / _LINE_HEIGHT else 6,
            arrowprops=LEADER,
        )


def _short(name: str) -> str:
    name = in_one_line(name)
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
