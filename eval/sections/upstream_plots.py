"""Scatter plots of upstream against downstream scores, with the interval over seeds both ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.intervals import Interval
from eval.text import in_one_line

MOST_LABELS = 40
LEADER = {
    "arrowstyle": "-",
    "linewidth": 0.5,
    "alpha": 0.35,
    # From the left of the name, cut nowhere: cutting it takes longer than all else of a plot.
    "relpos": (0, 0.5),
    "shrinkA": 0,
    "shrinkB": 0,
    "patchA": None,
}
"""The line from a name beside a plot to its point."""
_LONGEST_LABEL = 28
_LINE_HEIGHT = 0.042
"""Of a name beside a plot, as a share of the plot's height."""
_PANELS = 3
"""In a row."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One backbone. number: its label where names have no room."""

    backbone: str
    number: int
    control: bool
    x: Interval
    y: Interval

    @property
    def name(self) -> str:
        name = in_one_line(self.backbone)
        return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"


def draw_named(points: Sequence[Point], *, x: str, y: str) -> Callable[[Any], None]:
    """One scatter; the names stand beside it, a line leads to each: the best by y, at most
    MOST_LABELS."""

    def draw(figure: Any) -> None:
        from matplotlib import rcParams

        ink = rcParams["text.color"]  # the page's, light or dark
        axes = figure.add_subplot()
        _scatter(axes, points, x=x, y=y)
        named = sorted(points, key=lambda point: -point.y.mean)[:MOST_LABELS]
        low, high = axes.get_ylim()
        heights = spread([(p.y.mean - low) / (high - low) for p in named], apart=_LINE_HEIGHT)
        for point, height in zip(named, heights, strict=True):
            axes.annotate(
                point.name,
                (point.x.mean, point.y.mean),
                xytext=(1.05, height),
                textcoords="axes fraction",
                va="center",
                fontsize=7 if len(named) <= 1 / _LINE_HEIGHT else 5.5,
                arrowprops={**LEADER, "color": ink},
            )

    return draw


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


def draw_panels(panels: Mapping[str, Sequence[Point]], *, y: str) -> Callable[[Any], None]:
    """One scatter for each upstream score, points numbered, and the numbers' names beside them."""

    def draw(figure: Any) -> None:
        rows = math.ceil((len(panels) + 1) / _PANELS)
        grid = list(figure.subplots(rows, _PANELS, squeeze=False).flat)
        known: dict[int, str] = {}
        for axes, (x, points) in zip(grid, panels.items(), strict=False):
            _scatter(axes, points, x=x, y=y, size=16)
            for point in sorted(points, key=lambda point: -point.y.mean)[:MOST_LABELS]:
                known[point.number] = point.name
                axes.annotate(
                    str(point.number),
                    (point.x.mean, point.y.mean),
                    xytext=(3, 3),
                    textcoords="offset points",
                    fontsize=6,
                )
        for place, axes in enumerate(grid[len(panels) :]):
            axes.axis("off")
            if place == 0:
                _key(axes, known)

    return draw


def _key(axes: Any, names: Mapping[int, str]) -> None:
    lines = [f"{number}  {names[number]}" for number in sorted(names)][:MOST_LABELS]
    half = math.ceil(len(lines) / 2) if len(lines) > MOST_LABELS / 2 else len(lines)
    for column, part in enumerate((lines[:half], lines[half:])):
        axes.text(
            0.55 * column,
            1,
            "\n".join(part),
            transform=axes.transAxes,
            va="top",
            fontsize=7 if half <= 12 else 5,
        )


def _scatter(axes: Any, points: Sequence[Point], *, x: str, y: str, size: float = 30) -> None:
    for control, marker in ((False, "o"), (True, "s")):
        some = [point for point in points if point.control is control]
        if not some:
            continue
        bars = axes.errorbar(
            [point.x.mean for point in some],
            [point.y.mean for point in some],
            xerr=[_half(point.x) for point in some],
            yerr=[_half(point.y) for point in some],
            fmt=marker,
            markersize=math.sqrt(size),
            elinewidth=0.7,
            label="random weights" if control else "pretrained",
        )
        for line in bars[2]:
            line.set_alpha(0.45)
    axes.set_xlim(_limits([point.x for point in points]))
    axes.set_ylim(_limits([point.y for point in points]))
    axes.set_xlabel(f"{x} (%)")
    axes.set_ylabel(f"{y} (%)")
    if any(point.control for point in points):
        axes.legend(fontsize=6, loc="lower right")


def _half(value: Interval) -> float:
    return 0.0 if value.ci95 is None else (value.ci95[1] - value.ci95[0]) / 2


def _limits(values: Sequence[Interval]) -> tuple[float, float]:
    """Room for all means, and for their intervals as far as the means' own range goes again: the
    interval of two seeds may be wider than everything else."""
    low, high = (choose(value.mean for value in values) for choose in (min, max))
    room = max(high - low, 1.0)
    below, above = (
        choose(end for value in values for end in (value.ci95 or (value.mean, value.mean)))
        for choose in (min, max)
    )
    return max(below, low - room) - 0.12 * room, min(above, high + room) + 0.12 * room
