"""Robustness: differences by seed to the first backbone, corrected, and what cannot be said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import ttest_rel

from engine.results import Metric
from eval.records import Record
from eval.sections.material import Material
from eval.sections.robustness import section
from eval.sections.section import Grid, Plot, Section
from eval.summary import RowName, make_table

Make = Callable[..., Record]
HOSTILE = "<script>$x$"
KINDS = {"gaussian_noise": 40.0, "jpeg": 60.0}


@pytest.fixture
def make(make_record: Make) -> Callable[..., Record]:
    """make("a", 50.0, seed=0): clean 50, FGSM 40, iterative FGSM 30, corruptions 45."""

    def record(name: str, clean: float | None, *, seed: int = 0, **update: Any) -> Record:
        parts = {"clean": 0, "fgsm": 10, "ifgsm": 20, "corruption": 5}
        metrics = {
            f"{part}_top1": Metric(value=None if clean is None else clean - less, n=500)
            for part, less in parts.items()
        }
        of = {
            "fgsm_top1": {"1/255": 45.0, "4/255": 40.0},
            "corruption_top1": KINDS,
            "corruption_top1_by_level": {"1": 50.0, "5": 40.0},
        }
        made = make_record(name, task="robustness", seed=seed)
        return made.model_copy(update={"metrics": metrics, "per_class": of, **update})

    return record


def material_of(records: Sequence[Record]) -> Material:
    names = list(dict.fromkeys(record.backbone for record in records))
    rows = [RowName(backbone=name, control="scratch:resnet50d") for name in names]
    seeds = sorted({record.seed for record in records})
    table = make_table(records, benchmark="mini", rows=rows, seeds=seeds, tasks=("robustness",))
    return Material(table=table, records=tuple(records), evidence=lambda record: None)


def made(records: Sequence[Record]) -> Section:
    found = section(material_of(records))
    assert found is not None
    for block in found.blocks:
        if isinstance(block, Plot):
            drawn(block)
    return found


def drawn(plot: Plot) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=plot.size)
    with matplotlib.rc_context({"text.parse_math": False}):
        plot.draw(figure)
        figure.canvas.draw()


def grids(found: Section) -> list[Grid]:
    return [block for block in found.blocks if isinstance(block, Grid)]


def test_differences_are_paired_by_seed_and_corrected(make: Callable[..., Record]) -> None:
    first, second, third = [50.0, 52.0, 54.0], [55.0, 57.2, 58.8], [50.5, 51.0, 55.0]
    records = [
        make(name, value, seed=seed)
        for name, values in (("a", first), ("b", second), ("c", third))
        for seed, value in enumerate(values)
    ]
    found = made(records)
    values, differences = grids(found)
    assert [row[0].text for row in values.rows] == ["a", "b", "c"]
    assert values.rows[0][1].sort == 52.0
    p = [float(ttest_rel(other, first).pvalue) for other in (second, third)]
    # Holm of two: the smaller times two, the larger as it is and not below it.
    assert f"p = {2 * p[0]:.3f}" in differences.rows[0][1].detail
    assert f"p = {max(2 * p[0], p[1]):.3f}" in differences.rows[1][1].detail
    bounds = [ttest_rel(other, first).confidence_interval() for other in (second, third)]
    halves = [(high - low) / 2 for low, high in bounds]
    assert differences.rows[0][1].text == f"+5.0 ± {halves[0]:.1f} *"
    assert differences.rows[1][1].text == f"+0.2 ± {halves[1]:.1f}"
    assert "under FGSM b keeps the most, 47.0%" in found.lead.replace("Under", "under")
    assert "1 of 2 is better" in found.lead


def test_what_it_is_the_mean_of_stands_behind_a_number(make: Callable[..., Record]) -> None:
    (values, *_) = grids(made([make("a", 50.0)]))
    assert (
        values.rows[0][2].detail == "change of at most 1/255: 45.0, change of at most 4/255: 40.0"
    )
    assert "severity 5: 40.0" in values.rows[0][4].detail


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_seed_or_no_spread_is_no_evidence(make: Callable[..., Record], seeds: int) -> None:
    records = [make(n, v, seed=s) for n, v in (("a", 50.0), ("b", 60.0)) for s in range(seeds)]
    found = made(records)
    differences = grids(found)[1]
    unknown = "no evidence" if seeds > 1 else "not tested"
    assert differences.rows[0][1].text == f"+10.0 {unknown}"
    tested = "no evidence that any differs" if seeds > 1 else "of one seed, not tested"
    assert tested in found.lead
    said = "no spread" if seeds > 1 else "not tested: one common seed"
    assert said in differences.notes[0].lower()


def test_a_row_that_is_held_against_none_is_no_reference(make: Callable[..., Record]) -> None:
    """`alone`, the only one of its control."""
    found = material_of([make(name, 50.0) for name in ("a", "b", "alone")])
    rows = tuple(
        replace(row, name=replace(row.name, control="scratch:other"))
        if row.name.backbone == "alone"
        else row
        for row in found.table.rows
    )
    told = section(replace(found, table=replace(found.table, rows=rows)))
    assert told is not None
    assert "(compared with a)" in told.lead
    assert grids(told)[1].caption.startswith("Differences to a, ")


def test_odd_records_still_make_a_section(make: Callable[..., Record]) -> None:
    assert section(material_of([])) is None
    made([make(HOSTILE, None)])
    found = made([make("a", 50.0, per_class={}), make("b", 60.0, metrics={}, per_class={})])
    assert any("each corruption" in text for text in found.left_out)


def test_forty_backbones_are_too_many_for_the_plot_and_it_says_so(
    make: Callable[..., Record],
) -> None:
    found = made([make(f"{HOSTILE}{i}", 50.0 + i / 10) for i in range(40)])
    assert any("best 30 of 40" in text for text in found.left_out)


def test_label_noise_is_shown_by_its_share(make_record: Make) -> None:
    records = []
    for name, share, top1 in (("erm", 0.8, 40.0), ("mixup", 0.8, 60.0), ("plain", None, 90.0)):
        tricks = {} if share is None else {"label_noise": {"fraction": share}}
        protocol = {"recipe": {"tricks": tricks}}
        record = make_record(name, task="classification", seed=0)
        metrics = {"top1": Metric(value=top1, n=100)}
        records.append(record.model_copy(update={"protocol": protocol, "metrics": metrics}))
    (noise,) = grids(made(records))
    assert [[cell.text for cell in row] for row in noise.rows] == [
        ["mixup", "80%", "60.0"],
        ["erm", "80%", "40.0"],
    ]
