"""Shapley values, where the rows of a recipe's parts are there in enough orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.made import Made
from eval.sections.section import Cell, Grid, number
from eval.shapley import Shapley, shapley_values
from eval.significance import explain_no_evidence
from eval.text import in_one_line
from eval.trick_worth import METRICS, Scores

_MOST_RECIPES = 4
_NOTES = (
    "What a trick adds to the recipe, averaged over the orders in which the tricks may be added: "
    "the values of a column add up to the recipe's score minus its base's.",
    "Interval: Student's 95% over the seeds, one value of each. No evidence: p is 0.05 or more "
    "after Holm's correction over the tricks, or there is one seed. How far random orders may be "
    "off all orders is the standard error behind each number.",
)


def shapley_grids(rows: Sequence[Made], scores: Scores, left_out: list[str]) -> list[Grid]:
    """A grid for each recipe whose parts are there in enough orders, the largest recipes first.

    left_out: takes what is not shown.
    """
    by_backbone: dict[str, dict[str, dict[str, Shapley]]] = {}
    for metric in METRICS:
        for backbone, values in shapley_values(rows, scores.get(metric, {})).items():
            by_backbone.setdefault(backbone, {})[metric] = values
    made = {row.backbone: row for row in rows}
    names = sorted(by_backbone, key=lambda name: -len(made[name].tricks))
    if len(names) > _MOST_RECIPES:
        left_out.append(
            f"Shapley values of {len(names) - _MOST_RECIPES} smaller recipes, of {len(names)}"
        )
    return [_grid(name, by_backbone[name]) for name in names[:_MOST_RECIPES]]


def _grid(backbone: str, by_metric: Mapping[str, Mapping[str, Shapley]]) -> Grid:
    tricks = list(next(iter(by_metric.values())))
    return Grid(
        caption=f"Shapley values of the tricks of {in_one_line(backbone)}",
        header=("trick", *(METRICS[metric] for metric in by_metric)),
        rows=tuple(
            (Cell(text=in_one_line(trick)), *(_cell(of[trick]) for of in by_metric.values()))
            for trick in tricks
        ),
        notes=_NOTES,
    )


def _cell(found: Shapley) -> Cell:
    value = found.value
    text = number(value.mean, signed=True).text
    if value.ci95 is not None:
        low, high = (number(bound, signed=True).text for bound in value.ci95)
        text += f" [{low}, {high}]"
    if found.verdict == "no evidence":
        text += " not tested" if found.p_value is None else " no evidence"
    lines = [f"over {value.n} seed{'s' * (value.n > 1)}"]
    if found.p_value is not None:
        lines.append(f"p = {found.p_value:.3g} after correction")
    if why := explain_no_evidence(value.ci95, found.verdict, found.p_value, found.rows):
        lines.append(why)
    orders = "all orders" if found.orders is None else f"{found.orders} orders"
    error = "" if found.error is None else f", standard error {found.error:.2f}"
    return Cell(text=text, sort=value.mean, detail="\n".join([*lines, f"over {orders}{error}"]))
