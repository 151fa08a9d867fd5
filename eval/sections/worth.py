"""What each trick is worth: every two rows that differ by one trick, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.intervals import Interval
from eval.records import Record
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.text import in_one_line
from eval.trick_worth import (
    METRICS,
    Made,
    Pair,
    Shapley,
    Worth,
    find_pairs,
    known_rows,
    shapley_values,
    worth_of_tricks,
)

KEY, TITLE = "worth", "What each trick is worth"
_TASKS = {"top1": "classification", "mAP": "detection", "mIoU": "segmentation"}
_MOST_DRAWN = 40
_MOST_CONTEXTS = 30
_MOST_SHAPLEY = 4
_LONGEST_NAME = 28
_NOTES = (
    "A pair is two rows of one architecture whose recipes differ by exactly one trick, all knobs "
    "of the others equal; what the other tricks are is its context. A trick with other knobs is "
    "another trick. Differences are taken seed by seed.",
    "Interval: Student's 95% of the mean over the contexts, each the mean of its seeds; or over "
    "the seeds, where there are more of them than contexts: it then holds for these contexts.",
    "No evidence: p is 0.05 or more after Holm's correction over the tricks of a column. One "
    "difference alone has no interval.",
)
_SHAPLEY_NOTES = (
    "What a trick adds to the recipe, averaged over the orders in which the tricks may be added: "
    "the values of a column add up to the recipe's score minus its base's.",
    "±: the standard error over the random orders; where all subsets of the tricks are there, it "
    "is computed from them and has none. The spread over seeds is not in it.",
)


def section(material: Material) -> Section | None:
    """None where no row has a recipe with tricks."""
    rows, unknown = known_rows(material.records)
    left_out = [
        f"{in_one_line(name)}: its recipe is not known here, so that it can be no part of a pair"
        for name in unknown
    ]
    if not any(row.tricks for row in rows.values()):
        return None
    scores = _scores(material.records)
    pairs = find_pairs(rows.values())
    found = worth_of_tricks(pairs, scores)
    if not found:
        left_out.append(
            "no two rows differ by exactly one trick and share a seed: `trickle run --ablate SPEC` "
            "makes such rows of any recipe, for example --ablation leave-one-out"
        )
        lead = "These rows do not say what a single trick is worth."
        return Section(key=KEY, title=TITLE, lead=lead, left_out=tuple(left_out))
    alone = sorted({row.trick for row in found if row.difference.ci95 is None})
    if alone:
        left_out.append(f"no interval for {_names(alone)} where there is one difference alone")
    blocks: list[Block] = [_grid(found), _plot(found)]
    blocks += _shapley(list(rows.values()), scores, left_out)
    return Section(
        key=KEY, title=TITLE, lead=_lead(found), blocks=tuple(blocks), left_out=tuple(left_out)
    )


def _scores(records: Sequence[Record]) -> dict[str, dict[str, dict[int, float]]]:
    """metric -> backbone -> seed -> value; what has not been measured is left out."""
    scores: dict[str, dict[str, dict[int, float]]] = {metric: {} for metric in METRICS}
    for record in records:
        for metric, task in _TASKS.items():
            if record.task != task or record.status != "ok" or metric not in record.metrics:
                continue
            if (value := record.metrics[metric].value) is not None:
                scores[metric].setdefault(record.backbone, {})[record.seed] = value
    return scores


def _lead(found: Sequence[Worth]) -> str:
    tricks = {worth.trick for worth in found}
    said = []
    for metric, shown in METRICS.items():
        of_metric = [worth for worth in found if worth.metric == metric]
        parts = [
            f"{_names([worth.trick for worth in of_metric if worth.verdict == verdict])} {does} it"
            for verdict, does in (("better", "raised"), ("worse", "lowered"))
            if any(worth.verdict == verdict for worth in of_metric)
        ]
        if of_metric:
            open_ = sum(worth.verdict == "no evidence" for worth in of_metric)
            rest = f"no evidence for {'any' if open_ == len(of_metric) else open_}"
            rest += f" of {len(of_metric)}" * (len(of_metric) > 1)
            said.append(f"{shown}: {'; '.join([*parts, *([rest] if open_ else [])])}.")
    tricks_are = "1 trick was" if len(tricks) == 1 else f"{len(tricks)} tricks were"
    return f"{tricks_are} added to otherwise equal recipes. {' '.join(said)}"


def _names(tricks: Sequence[str]) -> str:
    """At most eight of them."""
    shown = ", ".join(in_one_line(trick) for trick in tricks[:8])
    return shown if len(tricks) <= 8 else f"{shown} and {len(tricks) - 8} more"


def _grid(found: Sequence[Worth]) -> Grid:
    by_trick: dict[str, dict[str, Worth]] = {}
    for worth in found:
        by_trick.setdefault(worth.trick, {})[worth.metric] = worth
    metrics = [metric for metric in METRICS if any(metric in row for row in by_trick.values())]
    rows = []
    for trick, of_trick in by_trick.items():
        pairs = list(
            dict.fromkeys(pair for worth in of_trick.values() for pair in worth.differences)
        )
        contexts = Cell(text=str(len(pairs)), sort=len(pairs), detail=_pairs_text(pairs))
        cells = [_cell(of_trick.get(metric)) for metric in metrics]
        rows.append((Cell(text=in_one_line(trick)), *cells, contexts))
    return Grid(
        caption="Mean difference that a trick makes, with its 95% interval",
        header=("trick", *(f"Δ {METRICS[metric]}" for metric in metrics), "contexts"),
        rows=tuple(rows),
        notes=_NOTES,
    )


def _cell(worth: Worth | None) -> Cell:
    if worth is None:
        return Cell(text="–")
    mean = number(worth.difference.mean, signed=True)
    text = mean.text
    if (bounds := worth.difference.ci95) is not None:
        text += f" [{bounds[0]:+.1f}, {bounds[1]:+.1f}]"
        text += f" {worth.verdict}" if worth.verdict == "no evidence" else ""
    else:
        text += ", one difference: no evidence"
    over = f"over {worth.difference.n} {worth.units}" if worth.units else ""
    if not over and worth.difference.ci95 is not None:
        over = f"over {worth.difference.n} seeds"
    p_value = "" if worth.p_value is None else f"p = {worth.p_value:.3g} after correction"
    lines = [part for part in (over, p_value) if part]
    for pair, by_seed in list(worth.differences.items())[:_MOST_CONTEXTS]:
        seeds = ", ".join(f"seed {seed}: {value:+.1f}" for seed, value in by_seed.items())
        lines.append(f"{_pair_text(pair)}: {seeds}")
    if (more := len(worth.differences) - _MOST_CONTEXTS) > 0:
        lines.append(f"and {more} more")
    return Cell(text=text, sort=worth.difference.mean, detail="\n".join(lines))


def _pairs_text(pairs: Sequence[Pair]) -> str:
    lines = [_pair_text(pair) for pair in pairs[:_MOST_CONTEXTS]]
    if (more := len(pairs) - _MOST_CONTEXTS) > 0:
        lines.append(f"and {more} more")
    return "\n".join(lines)


def _pair_text(pair: Pair) -> str:
    return f"{in_one_line(pair.having)} minus {in_one_line(pair.lacking)}"


def _plot(found: Sequence[Worth]) -> Plot:
    """The tricks that make the largest differences in any metric, at most 40."""
    largest: dict[str, float] = {}
    for worth in found:
        size = abs(worth.difference.mean)
        largest[worth.trick] = max(size, largest.get(worth.trick, 0.0))
    tricks = sorted(largest, key=lambda trick: -largest[trick])[:_MOST_DRAWN]
    panels = {
        METRICS[metric]: {w.trick: w for w in found if w.metric == metric and w.trick in tricks}
        for metric in METRICS
    }
    panels = {shown: row for shown, row in panels.items() if row}
    said = "; ".join(
        f"{shown}: "
        + ", ".join(f"{in_one_line(t)} {w.difference.mean:+.1f}" for t, w in row.items())
        for shown, row in panels.items()
    )
    few = "" if len(largest) == len(tricks) else f" The {len(tricks)} largest of {len(largest)}."
    return Plot(
        caption=f"What each trick adds, with its 95% interval.{few}",
        alt=f"Forest plot. {said}",
        draw=_draw(tricks, panels),
        size=(6.8, 1.5 + 0.24 * len(tricks)),
    )


def _draw(
    tricks: Sequence[str], panels: Mapping[str, Mapping[str, Worth]]
) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        from matplotlib import rcParams

        ink = rcParams["text.color"]  # the page's, light or dark
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        heights = {trick: len(tricks) - place for place, trick in enumerate(tricks)}
        for axes, (shown, row) in zip(grid, panels.items(), strict=True):
            axes.axvline(0, color=ink, linewidth=0.8, linestyle=":")
            for sure, style in ((True, "o"), (False, "D")):
                drawn = [w for w in row.values() if (w.verdict != "no evidence") == sure]
                axes.errorbar(
                    [w.difference.mean for w in drawn],
                    [heights[w.trick] for w in drawn],
                    xerr=[[_half(w.difference) for w in drawn]] * 2,
                    fmt=style,
                    markersize=5,
                    markerfacecolor=None if sure else "none",
                    capsize=2,
                    label="evidence" if sure else "no evidence",
                )
            axes.set_xlabel(f"Δ {shown}")
            axes.set_ylim(0.3, len(tricks) + 0.7)
            means = [w.difference.mean for w in row.values()]
            _limit(axes, means, [w.difference for w in row.values()])
        grid[0].set_yticks(list(heights.values()), [_short(trick) for trick in heights])
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


def _half(value: Interval) -> float:
    return 0.0 if value.ci95 is None else (value.ci95[1] - value.ci95[0]) / 2


def _short(name: str) -> str:
    name = in_one_line(name).replace("$", "")  # matplotlib would set what is between two as maths
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _shapley(
    rows: Sequence[Made],
    scores: Mapping[str, Mapping[str, Mapping[int, float]]],
    left_out: list[str],
) -> list[Block]:
    """A grid for each recipe whose parts are there in enough orders, the largest recipes first."""
    by_backbone: dict[str, dict[str, dict[str, Shapley]]] = {}
    for metric in METRICS:
        for backbone, values in shapley_values(rows, scores[metric]).items():
            by_backbone.setdefault(backbone, {})[metric] = values
    made = {row.backbone: row for row in rows}
    names = sorted(by_backbone, key=lambda name: -len(made[name].tricks))
    if len(names) > _MOST_SHAPLEY:
        left_out.append(
            f"Shapley values of {len(names) - _MOST_SHAPLEY} smaller recipes, of {len(names)}"
        )
    return [_shapley_grid(name, by_backbone[name]) for name in names[:_MOST_SHAPLEY]]


def _shapley_grid(backbone: str, by_metric: Mapping[str, Mapping[str, Shapley]]) -> Grid:
    tricks = list(next(iter(by_metric.values())))
    rows = []
    for trick in tricks:
        cells = []
        for values in by_metric.values():
            value = values[trick]
            error = "" if value.error is None else f" ± {value.error:.1f}"
            orders = "all orders" if value.orders is None else f"{value.orders} orders"
            text = f"{number(value.value, signed=True).text}{error}"
            cells.append(Cell(text=text, sort=value.value, detail=f"over {orders}"))
        rows.append((Cell(text=in_one_line(trick)), *cells))
    return Grid(
        caption=f"Shapley values of the tricks of {in_one_line(backbone)}",
        header=("trick", *(METRICS[metric] for metric in by_metric)),
        rows=tuple(rows),
        notes=_SHAPLEY_NOTES,
    )
