"""Learning rates that range tests have found: the loss at each rate, and what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from classification.learning_rate_plot import Curve, draw_ranges
from classification.learning_rate_range import ranges_in
from classification.tricks.found_learning_rate import FoundLearningRate
from eval.records import Record, TaskName
from eval.sections.by_backbone import named, short
from eval.sections.classifiers import by_backbone
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Plot, Section

_MOST_CURVES = 6  # rows whose curves can be told apart in one plot

_Test = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]


def section(material: Material) -> Section | None:
    """Of pretrainings; None where no rate was found."""
    return _section(material, "classification", key="learning-rate", title="Learning rates found")


def own_section(material: Material) -> Section | None:
    """Of fine-tunings."""
    return _section(
        material, "finetune", key="own-learning-rate", title="Your images: learning rates found"
    )


def _section(material: Material, task: TaskName, *, key: str, title: str) -> Section | None:
    records = [r for r in material.of_task(task) if FoundLearningRate.name in r.protocol]
    if not records:
        return None
    tests: dict[str, list[_Test]] = {}
    missing: dict[str, list[str]] = {}
    for backbone, of_seeds in by_backbone(records).items():
        for record in of_seeds:
            found, reason = _tests(material, record)
            tests.setdefault(backbone, []).extend(found)
            if reason:
                missing.setdefault(reason, []).append(f"{backbone} (seed {record.seed})")
    tests = {backbone: found for backbone, found in tests.items() if found}
    left_out = tuple(f"{named(who)}: {reason}." for reason, who in missing.items())
    if not tests:
        return Section(
            key=key,
            title=title,
            lead="Range tests have found learning rates, and what they saw was not kept.",
            left_out=left_out,
        )
    said = [f"{short(name)} {_range([t[2] for t in found])}" for name, found in tests.items()]
    more = f" and {len(said) - _MOST_CURVES} more rows" if len(said) > _MOST_CURVES else ""
    return Section(
        key=key,
        title=title,
        lead=f"A range test before the training found: {'; '.join(said[:_MOST_CURVES])}{more}.",
        blocks=(_plot(tests), _grid(tests)),
        left_out=left_out,
    )


def _tests(material: Material, record: Record) -> tuple[list[_Test], str]:
    evidence = material.evidence(record)
    if evidence is None:
        return [], "no evidence was kept, or none that can be read"
    try:
        found = ranges_in(evidence)
    except ValueError as error:
        return [], str(error)
    return found, "" if found else "its evidence holds no range test"


def _range(rates: Sequence[float]) -> str:
    low, high = min(rates), max(rates)
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"


def _plot(tests: dict[str, list[_Test]]) -> Plot:
    shown = dict(list(tests.items())[:_MOST_CURVES])
    which = f"the first {len(shown)} of {len(tests)} rows" if len(shown) < len(tests) else ""
    return Plot(
        caption="Loss while the learning rate grows step by step"
        f"{f', {which}' if which else ''}: thin as it is; thick smoothed, with divergence cut off "
        "at the highest loss before the lowest; all seeds and folds of a row in one colour. The "
        "circle is the rate that was chosen.",
        alt="Loss over the learning rate. Chosen: "
        + "; ".join(f"{n} {_range([t[2] for t in found])}" for n, found in shown.items()),
        draw=_drawn(shown),
        size=(6.4, 4.2),
    )


def _drawn(tests: dict[str, list[_Test]]) -> Callable[[Any], None]:
    curves: list[Curve] = []
    for backbone, found in tests.items():
        for place, (rates, losses, rate) in enumerate(found):
            curves.append(("" if place else short(backbone), rates, losses, rate))
    return lambda figure: draw_ranges(figure, curves)


def _grid(tests: dict[str, list[_Test]]) -> Grid:
    rows = []
    for backbone, found in tests.items():
        chosen = [rate for _, _, rate in found]
        middle = float(np.exp(np.mean(np.log(chosen))))
        tested = max(rates[-1] for rates, _, _ in found)
        rows.append(
            (
                Cell(text=backbone),
                Cell(text=f"{middle:.2g}", sort=middle),
                Cell(text=f"{min(chosen):.2g}", sort=min(chosen)),
                Cell(text=f"{max(chosen):.2g}", sort=max(chosen)),
                Cell(text=f"{tested:.2g}", sort=float(tested)),
                Cell(text=str(len(found)), sort=len(found)),
            )
        )
    return Grid(
        caption="Rates that were chosen, over seeds and folds",
        header=("backbone", "geometric mean", "lowest", "highest", "tested up to", "tests"),
        rows=tuple(rows),
        notes=(
            "A test goes up to the highest rate, or to the one at which the loss diverges. The "
            "rates are those of the head; earlier parts have theirs in the recipe's proportion.",
        ),
    )
