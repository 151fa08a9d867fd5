"""The plot of a score over what it costs, and the words that go with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from eval.sections.by_backbone import named
from eval.sections.common_seeds import BySeed, common_seeds, p_by_image
from eval.sections.material import Material
from eval.sections.pareto import PricedPoint, Standing, standings
from eval.sections.pareto_plot import differ_in_size, draw_front, lacking, score_of
from eval.sections.prices import Price, Speeds
from eval.sections.scatter import MOST_LABELS, height_for, narrow_size
from eval.sections.section import Plot
from eval.sections.work import unit_of
from eval.text import in_one_line

RULE = (
    "Of the plots: on the line are the rows that none beats which costs no more and scores higher, "
    "by the means over the seeds named. Each other row is held against the best of those that cost "
    "no more, paired by seed; it counts as beaten only where the 95% interval of this difference "
    "(Student's, over the seeds that both have, not corrected for the number of rows) is above 0; "
    "where both have one seed only, where that over its test images is, if these were kept. "
    "A row marked † lacks some of these seeds, and can neither be on the line nor beat one."
)
"""How beaten and not beaten is told."""
_OTHERS: tuple[Standing, ...] = ("beaten", "no evidence that it is beaten")


@dataclass(frozen=True, kw_only=True)
class Trade:
    """plot: None where there is none; missing says why, and what is not in it."""

    plot: Plot | None
    lead: str
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """cost: less is better; None where not known. shown: of a cost, what stands on the axis."""

    cost: Callable[[Price], float | None]
    what: str
    label: str
    cheaper: str
    shown: Callable[[float], float]


def trade(
    material: Material, prices: Sequence[Price], speeds: Speeds, values: BySeed, metric: str
) -> Trade:
    """values: of the metric, by backbone and seed."""
    asked = len(material.table.seeds)
    every = [price for price in prices if values.get(price.name)]
    if len(every) < 2:
        return Trade(plot=None, lead="", missing=())
    trained = [price for price in every if not price.is_control]
    one = len({price.architecture for price in every}) == 1
    chosen = trained if one or len(trained) >= 2 else every
    axis = _axis(chosen, speeds, common_seeds({p.name: values[p.name] for p in chosen}), one=one)
    points, lost = _priced(chosen, axis, values)
    missing = [f"{metric}: {axis.what} not known of {named(lost)}."] if lost else []
    if len(points) < 2:
        missing.append(f"{metric}: no plot over {axis.what}, which needs two trained rows.")
        return Trade(plot=None, lead="", missing=tuple(missing))
    left = [price for price in every if price.is_control] if chosen is trained else []
    controls, _ = _priced(left, axis, values)
    if left:
        missing.append("The plots are without random weights, which take no pretraining.")
    seeds = common_seeds({point.name: point.values for point in points})
    found = standings(points, seeds, partial(p_by_image, material, metric))
    what = "pretrained rows" if chosen is trained else "rows"
    lead = _lead(axis, points, found, seeds, metric, asked, what)
    return Trade(
        plot=_plot(axis, points, found, seeds, metric, asked),
        lead=f"{lead}{_rivals(points, found, controls, seeds, asked)}",
        missing=tuple(missing),
    )


def _priced(
    prices: Sequence[Price], axis: _Axis, values: BySeed
) -> tuple[list[PricedPoint], list[str]]:
    """And the names of those whose cost is not known."""
    points, lost = [], []
    for price in prices:
        if (cost := axis.cost(price)) is None:
            lost.append(price.name)
            continue
        parameters = price.row.cost.get("parameters")
        points.append(
            PricedPoint(
                name=price.name, cost=cost, values=values[price.name], parameters=parameters
            )
        )
    return points, lost


def _axis(scored: Sequence[Price], speeds: Speeds, seeds: Sequence[int], *, one: bool) -> _Axis:
    """Of one architecture all run equally fast: what differs is what it takes to train them."""
    if one:
        times = [time for p in scored if (time := p.until_weights(seeds)) is not None]
        most, work = max(times, default=0.0), any(p.currency == "work" for p in scored)
        unit, size = unit_of(most) if work else _unit(most)
        return _Axis(
            cost=lambda price: 0.0 if price.is_control else price.until_weights(seeds),
            what=f"pretraining {'work' if work else 'time'}, the teacher's included",
            label=f"pretraining with the teacher's ({unit}; cheaper to the left)",
            cheaper="cheaper to pretrain",
            shown=lambda seconds: seconds / size,
        )
    if any(price.architecture in speeds for price in scored):
        return _Axis(
            cost=lambda price: (
                -speeds[price.architecture].mean if price.architecture in speeds else None
            ),
            what="images/s",
            label="images/s forward at 224 (cheaper to the right)",
            cheaper="faster",
            shown=lambda cost: -cost,
        )
    return _Axis(
        cost=lambda price: price.row.cost.get("gmacs"),
        what="GMACs",
        label="GMACs (cheaper to the left)",
        cheaper="cheaper in GMACs",
        shown=lambda cost: cost,
    )


def _unit(most: float) -> tuple[str, float]:
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if most >= 2 * size:
            return unit, size
    return "seconds", 1.0


def _plot(
    axis: _Axis,
    points: Sequence[PricedPoint],
    found: Sequence[Standing],
    seeds: Sequence[int],
    metric: str,
    asked: int,
) -> Plot:
    sizes = "; the larger a point, the more parameters" if differ_in_size(points) else ""
    names = f"; the {MOST_LABELS} best are named" if len(points) > MOST_LABELS else ""
    return Plot(
        caption=f"{metric} over {axis.what}, {_shown(seeds)}; the line joins what is not "
        f"beaten{sizes}{names}",
        alt=f"Scatter plot of {metric} over {axis.what} of {len(points)} backbones. "
        + "; ".join(f"{how}: {who}" for how, who in _names(points, found, seeds, asked).items()),
        draw=draw_front(
            points,
            found,
            seeds=seeds,
            asked=asked,
            x=axis.label,
            y=f"{metric} (%)",
            shown=axis.shown,
        ),
        size=(8.0, height_for(len(points), least=4.2)),
        narrow=narrow_size(len(points)),
    )


def _lead(
    axis: _Axis,
    points: Sequence[PricedPoint],
    found: Sequence[Standing],
    seeds: Sequence[int],
    metric: str,
    asked: int,
    what: str,
) -> str:
    """what: the points are, in words."""
    counts = {standing: found.count(standing) for standing in _OTHERS}
    marked = [point for point in points if lacking(point, seeds, asked)]
    said = [
        f"For {metric}, of the {len(points) - len(marked)} {what} with {_seeds(seeds)} none is "
        f"both {axis.cheaper} and better than {_names(points, found, seeds, asked)['not beaten']}",
        *(f"{standing}: {count} of {len(points)}" for standing, count in counts.items() if count),
    ]
    if marked:
        said.append(f"without some of these seeds: {named(_marked(marked, seeds, asked))}")
    return f"{'; '.join(said)}."


def _rivals(
    points: Sequence[PricedPoint],
    found: Sequence[Standing],
    controls: Sequence[PricedPoint],
    seeds: Sequence[int],
    asked: int,
) -> str:
    """Who may not be on the line, and would beat one that is; empty where there is none."""
    front = [
        (point.cost, score_of(point, seeds).mean)
        for point, one in zip(points, found, strict=True)
        if one == "not beaten"
    ]

    def better(point: PricedPoint) -> bool:
        own = score_of(point, seeds).mean
        return any(point.cost <= cost and own > score for cost, score in front)

    few = [point for point in points if lacking(point, seeds, asked) and better(point)]
    names = [f"{in_one_line(point.name)} (random weights)" for point in controls if better(point)]
    names += _marked(few, seeds, asked)
    if not names:
        return ""
    verbs = ("costs", "scores") if len(names) == 1 else ("cost", "score")
    return f" But {named(names)} {verbs[0]} no more and {verbs[1]} higher than one of these."


def _marked(points: Sequence[PricedPoint], seeds: Sequence[int], asked: int) -> list[str]:
    return [f"{in_one_line(point.name)} ({lacking(point, seeds, asked)})" for point in points]


def _names(
    points: Sequence[PricedPoint], found: Sequence[Standing], seeds: Sequence[int], asked: int
) -> dict[Standing, str]:
    by_standing: dict[Standing, list[str]] = {}
    for point, standing in zip(points, found, strict=True):
        few = lacking(point, seeds, asked)
        name = f"{in_one_line(point.name)}{f' ({few})' if few else ''}"
        by_standing.setdefault(standing, []).append(name)
    return {standing: named(names) for standing, names in by_standing.items()}


def _shown(seeds: Sequence[int]) -> str:
    """What the points are; one seed has no interval."""
    several = len(seeds) > 1
    return f"{'means and 95% intervals over ' * several}{_seeds(seeds)}" + (
        ", cut at 0 and 100" * several
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
