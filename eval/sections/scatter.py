"""What scatter plots of backbones share: limits of percentages, error bars, names beside them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from eval.intervals import Interval
from eval.sections.by_backbone import short

MOST_LABELS = 40
MANY = 12
"""Points from which on error bars must be faint, not to hide what they belong to."""
LABEL_SIZE = 9
"""Points: the smallest that is read without trouble."""
LINE_INCHES = 0.155
"""What a line of such letters takes."""
_NAMES_AT = 1.04
"""Of the axes' width."""
_LEADER = "#8c8c8c"
_LONGEST_NAME = 28
_NARROW = 5.0
"""Inches of a figure's width below which names have no room beside it."""
_NARROW_LABEL = 40
"""Characters of a line below narrow axes."""
NARROW_WIDTH = 3.6
"""Inches of what a telephone shows without scrolling."""


def height_for(names: int, *, least: float) -> float:
    """Inches of a plot that has room for so many names beside it, at least `least`."""
    return max(least, 1.0 + LINE_INCHES * min(names, MOST_LABELS))


def narrow_size(names: int) -> tuple[float, float]:
    """Of the same plot for a telephone, its names listed below it (see `name_beside`)."""
    return NARROW_WIDTH, 3.0 + LINE_INCHES * min(names, MOST_LABELS)


def is_narrow(figure: Any) -> bool:
    """Whether it is drawn for a telephone."""
    return bool(figure.get_size_inches()[0] < _NARROW)


def percent_limits(values: Sequence[Interval]) -> tuple[float, float]:
    """Room for all means, and for their intervals as far as the means' own range goes again: the
    interval of two seeds may be wider than everything else. Within what a percentage can be, but
    for the room that a point at its end takes."""
    low, high = (choose(value.mean for value in values) for choose in (min, max))
    room = max(high - low, 1.0)
    ends = [cut(value) for value in values]
    below, above = min(end for end, _ in ends), max(end for _, end in ends)
    least, most = max(below, low - room) - 0.12 * room, min(above, high + room) + 0.12 * room
    # A point that lies on the edge would be drawn by half.
    margin = 0.03 * (min(most, 100.0) - max(least, 0.0))
    return max(least, -margin if low < margin else 0.0), min(
        most, 100.0 + margin if high > 100.0 - margin else 100.0
    )


def cut(value: Interval) -> tuple[float, float]:
    """Its 95% interval as far as a percentage can go; the mean alone where there is none."""
    if value.ci95 is None:
        return value.mean, value.mean
    low, high = value.ci95
    return min(max(low, 0.0), value.mean), max(min(high, 100.0), value.mean)


def bar(values: Sequence[Interval]) -> list[list[float]]:
    """Lengths of error bars below and above the means."""
    ends = [cut(value) for value in values]
    below = [value.mean - low for value, (low, _) in zip(values, ends, strict=True)]
    above = [high - value.mean for value, (_, high) in zip(values, ends, strict=True)]
    return [below, above]


def name_beside(axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Names right of the axes, in the order of height, a dashed line from each to its point.

    points: x, y and name. The highest are named, at most MOST_LABELS. The limits must be set, and
    the axes linear: they are not touched after. In a narrow figure the points are numbered, and
    the names listed below the axes.
    """
    from matplotlib.collections import LineCollection

    named = sorted(points, key=lambda point: -point[1])[:MOST_LABELS]
    if is_narrow(axes.figure):
        _name_below(axes, named)
        return
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    inches = axes.figure.get_size_inches()[1] - 1.0
    heights = spread(
        [(y - low) / (high - low) for _, y, _ in named], apart=LINE_INCHES / max(inches, 1.0)
    )
    # One collection, not an arrow for each name: those take longer than all else of a plot.
    leaders = [
        [(x, y), (left + (_NAMES_AT - 0.008) * (right - left), low + height * (high - low))]
        for (x, y, _), height in zip(named, heights, strict=True)
    ]
    axes.add_collection(
        LineCollection(
            leaders, colors=_LEADER, linewidths=0.6, linestyles=[(0, (2, 3))], clip_on=False,
            zorder=0.5,
        ),
        autolim=False,
    )  # fmt: skip
    for (_, _, name), height in zip(named, heights, strict=True):
        axes.text(
            _NAMES_AT, height, name, transform=axes.transAxes, va="center", fontsize=LABEL_SIZE
        )


def _name_below(axes: Any, named: Sequence[tuple[float, float, str]]) -> None:
    if axes.get_legend():
        axes.legend(
            fontsize=LABEL_SIZE, loc="lower left", bbox_to_anchor=(0, 1), markerscale=0.7,
            frameon=False, borderaxespad=0.2,
        )  # fmt: skip
    axes.set_xlabel(fill(axes.get_xlabel(), _NARROW_LABEL), fontsize=LABEL_SIZE)
    for place, (x, y, _) in enumerate(named, 1):
        axes.annotate(
            str(place), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=LABEL_SIZE
        )
    lines = "\n".join(f"{place}  {name}" for place, (_, _, name) in enumerate(named, 1))
    axes.figure.supxlabel(lines, x=0.02, ha="left", fontsize=LABEL_SIZE)


def spread(heights: Sequence[float], *, apart: float) -> list[float]:
    """Falling heights in 0..1 moved as far that neighbors are `apart`, or less where there is not
    room for all; none leaves 0..1."""
    apart = min(apart, 1 / max(1, len(heights)))
    moved: list[float] = []
    for place, height in enumerate(heights):
        lowest = (len(heights) - 1 - place) * apart  # those below need their room, too
        highest = moved[-1] - apart if moved else 1.0
        moved.append(min(highest, max(lowest, height)))
    return moved


def label(name: str, seeds: str = "") -> str:
    """A name that fits beside a plot. seeds: `1 of 3 seeds`, of a row with fewer than others."""
    return f"{short(name, _LONGEST_NAME)}{f' † ({seeds})' if seeds else ''}"
