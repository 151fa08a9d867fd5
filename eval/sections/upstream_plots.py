"""Scatter plots of upstream against downstream scores, with the interval over seeds both ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.intervals import Interval
from eval.sections.scatter import (
    LABEL_SIZE,
    LINE_INCHES,
    MANY,
    NARROW_WIDTH,
    bar,
    is_narrow,
    label,
    name_beside,
    percent_limits,
)

_PANELS = 3
"""In a row, where it is not for a telephone."""
_PANELS_WIDTH = 9.0
_PANEL_INCHES = 2.6
MOST_NUMBERS = 20
"""In a panel, the best by its height."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One backbone. number: its label where names have no room. lacks: `1 of 3 seeds`, of one that
    lacks some of the others'; empty for those."""

    backbone: str
    number: int
    control: bool
    x: Interval
    y: Interval
    lacks: str = ""

    @property
    def name(self) -> str:
        return label(self.backbone, self.lacks)


def draw_named(points: Sequence[Point], *, x: str, y: str) -> Callable[[Any], None]:
    """One scatter; the names stand beside it, a line leads to each: the best by y, at
    most `scatter.MOST_LABELS`."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        _scatter(axes, points, x=x, y=y)
        if any(point.control or point.lacks for point in points):
            # Above the axes, where it hides no point.
            axes.legend(
                fontsize=LABEL_SIZE, loc="lower left", bbox_to_anchor=(0, 1), ncols=2,
                frameon=False, borderaxespad=0.2,
            )  # fmt: skip
        name_beside(axes, [(point.x.mean, point.y.mean, point.name) for point in points])

    return draw


def panels_size(panels: int, names: int, *, narrow: bool = False) -> tuple[float, float]:
    """Inches of what `draw_panels` draws; narrow: one panel below the other, for a telephone."""
    width, columns = (NARROW_WIDTH, 1) if narrow else (_PANELS_WIDTH, _PANELS)
    return width, _PANEL_INCHES * math.ceil(panels / columns) + _key_height(names, columns)


def _key_height(names: int, columns: int) -> float:
    return 0.2 + LINE_INCHES * math.ceil(min(names, MOST_NUMBERS) / columns)


def draw_panels(panels: Mapping[str, Sequence[Point]], *, y: str) -> Callable[[Any], None]:
    """One scatter for each upstream score, points numbered, and the numbers' names below them."""

    def draw(figure: Any) -> None:
        most = 1 if is_narrow(figure) else _PANELS
        rows, columns = math.ceil(len(panels) / most), min(len(panels), most)
        names = len({point.number for points in panels.values() for point in points})
        heights = [*[_PANEL_INCHES] * rows, _key_height(names, most)]
        grid = figure.add_gridspec(rows + 1, columns, height_ratios=heights)
        known: dict[int, str] = {}
        for place, (x, points) in enumerate(panels.items()):
            axes = figure.add_subplot(grid[divmod(place, columns)])
            _scatter(axes, points, x=x, y=y, size=16)
            for point in sorted(points, key=lambda point: -point.y.mean)[:MOST_NUMBERS]:
                known[point.number] = f"{label(point.backbone)}{' †' if point.lacks else ''}"
                axes.annotate(
                    f"{point.number}{'†' if point.lacks else ''}",
                    (point.x.mean, point.y.mean),
                    xytext=(3, 3),
                    textcoords="offset points",
                    fontsize=LABEL_SIZE,
                )
        _key(figure.add_subplot(grid[rows, :]), known, most)

    return draw


def _key(axes: Any, names: Mapping[int, str], columns: int) -> None:
    axes.axis("off")
    lines = [f"{number}  {names[number]}" for number in sorted(names)]
    length = math.ceil(len(lines) / columns)
    for column in range(columns):
        part = lines[column * length : (column + 1) * length]
        axes.text(
            column / columns,
            1,
            "\n".join(part),
            transform=axes.transAxes,
            va="top",
            fontsize=LABEL_SIZE,
        )


def _scatter(axes: Any, points: Sequence[Point], *, x: str, y: str, size: float = 30) -> None:
    from matplotlib import rcParams

    for color, control, marker in (("C0", False, "o"), ("C1", True, "s")):
        for fill in ("full", "none"):  # hollow: lacks some seeds
            some = [p for p in points if p.control is control and bool(p.lacks) == (fill == "none")]
            if not some:
                continue
            bars = axes.errorbar(
                [point.x.mean for point in some],
                [point.y.mean for point in some],
                xerr=bar([point.x for point in some]),
                yerr=bar([point.y for point in some]),
                fmt=marker,
                color=color,
                fillstyle=fill,
                ecolor=rcParams["text.color"],  # the page's, light or dark
                markersize=math.sqrt(size),
                elinewidth=0.7,
                label=("random weights" if control else "pretrained")
                + (", lacks some seeds" if fill == "none" else ""),
            )
            for line in bars[2]:
                line.set_alpha(0.45 if len(points) <= MANY else 0.25)
    axes.set_xlim(percent_limits([point.x for point in points]))
    axes.set_ylim(percent_limits([point.y for point in points]))
    axes.set_xlabel(f"{x} (%)")
    axes.set_ylabel(f"{y} (%)")
