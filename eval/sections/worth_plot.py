"""A forest of what each trick is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.intervals import Interval
from eval.sections.scatter import is_narrow
from eval.sections.section import Plot
from eval.text import in_one_line
from eval.trick_worth import METRICS, Worth

_MOST_DRAWN = 40
_LONGEST_NAME, _LONGEST_NARROW = 44, 26


def forest(found: Sequence[Worth]) -> Plot:
    """The tricks that make the largest differences in any metric, at most 40."""
    largest: dict[str, float] = {}
    for worth in found:
        size = abs(worth.difference.mean)
        largest[worth.trick] = max(size, largest.get(worth.trick, 0.0))
    tricks = sorted(largest, key=lambda trick: -largest[trick])[:_MOST_DRAWN]
    recipes = {worth.trick: worth.recipes for worth in found}
    titles = {trick: recipes[trick] or trick for trick in tricks}
    panels = {
        METRICS[metric]: {w.trick: w for w in found if w.metric == metric and w.trick in tricks}
        for metric in METRICS
    }
    panels = {shown: row for shown, row in panels.items() if row}
    said = "; ".join(
        f"{shown}: "
        + ", ".join(f"{in_one_line(t)} {w.difference.mean:+z.1f}" for t, w in row.items())
        for shown, row in panels.items()
    )
    few = "" if len(largest) == len(tricks) else f" The {len(tricks)} largest of {len(largest)}."
    return Plot(
        caption=f"What each trick adds, with its 95% interval.{few}",
        alt=f"Forest plot. {said}",
        draw=_draw(titles, panels),
        size=(10.0, 1.5 + 0.24 * len(tricks)),
        narrow=(3.6, 0.5 + len(panels) * (0.8 + 0.24 * len(tricks))),
    )


def _draw(
    titles: Mapping[str, str], panels: Mapping[str, Mapping[str, Worth]]
) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        from matplotlib import rcParams

        ink = rcParams["text.color"]  # the page's, light or dark
        narrow = is_narrow(figure)
        shape = (len(panels), 1) if narrow else (1, len(panels))
        grid = figure.subplots(*shape, sharey=True, squeeze=False).flat
        longest = _LONGEST_NARROW if narrow else _LONGEST_NAME
        small = {"labelsize": "small" if narrow else "medium"}
        heights = {trick: len(titles) - place for place, trick in enumerate(titles)}
        for axes, (shown, row) in zip(grid, panels.items(), strict=True):
            axes.axvline(0, color=ink, linewidth=0.8, linestyle=":")
            for sure, style in ((True, "o"), (False, "D")):
                drawn = [w for w in row.values() if (w.verdict != "no evidence") == sure]
                axes.errorbar(
                    [w.difference.mean for w in drawn],
                    [heights[w.trick] for w in drawn],
                    xerr=list(zip(*(_reach(w.difference) for w in drawn), strict=True)) or None,
                    fmt=style,
                    markersize=5,
                    markerfacecolor=None if sure else "none",
                    capsize=2,
                    label="evidence" if sure else "no evidence",
                )
            axes.set_xlabel(f"Δ {shown}")
            axes.set_ylim(0.3, len(titles) + 0.7)
            means = [w.difference.mean for w in row.values()]
            _limit(axes, means, [w.difference for w in row.values()])
            axes.tick_params(**small)
        names = [_short(titles[trick], longest) for trick in heights]
        grid[0].set_yticks(list(heights.values()), names)
        # Above the panels, where it hides no interval.
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper center", ncols=2, fontsize="small", frameon=False)
        top = 1 - 0.3 / figure.get_size_inches()[1]
        figure.set_layout_engine("tight", rect=(0, 0, 1, top))

    return draw


def _limit(axes: Any, means: Sequence[float], drawn: Sequence[Interval]) -> None:
    """Of two seeds' intervals some reach far: they may leave the picture, the means do not."""
    span = max(1.0, *(abs(mean) for mean in means))
    reach = max([abs(bound) for one in drawn for bound in one.ci95 or ()] + [span])
    limit = min(reach, 4 * span) * 1.08
    axes.set_xlim(-limit, limit)


def _reach(value: Interval) -> tuple[float, float]:
    """From the mean to either end; an interval by image need not lie around it."""
    low, high = value.ci95 or (value.mean, value.mean)
    return max(0.0, value.mean - low), max(0.0, high - value.mean)


def _short(name: str, longest: int) -> str:
    name = in_one_line(name).replace("$", "")  # matplotlib would set what is between two as maths
    half = longest // 2  # of both ends: knobs, which tell tricks of one name apart, stand last
    return name if len(name) <= longest else f"{name[: longest - half - 1]}…{name[-half:]}"
