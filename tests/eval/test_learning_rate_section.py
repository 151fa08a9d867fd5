"""The report's section on learning rates that were found, from curves whose choice is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.evidence import Evidence
from engine.results import Metric
from eval.notes import _computed_differently
from eval.page.plots import plot_svg
from eval.sections import learning_rate
from eval.sections.material import Material
from eval.sections.section import Grid, Plot
from tests.eval.report_material import PROTOCOL, material_of, record_of

RATES = np.geomspace(1e-6, 1.0, 100)


def seen(*found: float, broken: bool = False) -> Evidence:
    """A logistic fall for each found rate, whose inflection it is; the second test ends early."""
    losses = np.array([2.3 - 1.8 / (1 + rate / RATES) for rate in found])
    losses[1:, 80:] = np.nan
    arrays = {
        "range_rates": np.tile(RATES, (len(found), 1)),
        "range_losses": losses,
        "range_found": np.array(found),
    }
    if broken:
        del arrays["range_found"]
    return Evidence(task="finetune", classes=("a",), images=("1",), arrays=arrays)


def tuned(rows: dict[str, list[Evidence | None]], task: str = "finetune") -> Material:
    records, known = [], {}
    for name, of_seeds in rows.items():
        for seed, evidence in enumerate(of_seeds):
            protocol = {**PROTOCOL, "found_learning_rate": 0.1 * (seed + 1)}
            metrics = {"tuned_top1": Metric(value=50.0, n=10)}
            record = record_of(name, seed, None, task=task, metrics=metrics, protocol=protocol)
            records.append(record)
            known[record.key] = evidence
    return replace(material_of(records), evidence=lambda record: known[record.key])


def test_it_shows_every_test_of_all_seeds_and_folds() -> None:
    rows = {"a$~finetune": [seen(1e-3, 4e-3), seen(2e-3)], "b~finetune": [seen(0.1)]}
    section = learning_rate.own_section(tuned(rows))  # type: ignore[arg-type]
    assert section is not None
    assert "a$~finetune 0.001 to 0.004; b~finetune 0.1" in section.lead
    plot, grid = section.blocks
    assert isinstance(plot, Plot)
    assert isinstance(grid, Grid)
    first, second = ([cell.text for cell in row] for row in grid.rows)
    assert first == ["a$~finetune", "0.002", "0.001", "0.004", "1", "3"]  # the cube root of 8e-9
    assert second == ["b~finetune", "0.1", "0.1", "0.1", "1", "1"]
    svg = plot_svg(plot, prefix="p")
    assert "a$~finetune" in svg
    assert "learning rate" in svg


def test_what_is_missing_is_said_and_what_was_not_searched_is_not_shown() -> None:
    assert learning_rate.section(tuned({"a": [seen(1e-3)]})) is None
    plain = tuned({"a": [seen(1e-3)]})
    records = tuple(r.model_copy(update={"protocol": PROTOCOL}) for r in plain.records)
    assert learning_rate.own_section(replace(plain, records=records)) is None
    some = learning_rate.own_section(tuned({"a": [seen(1e-3), None, seen(1e-3, broken=True)]}))
    assert some is not None
    assert some.left_out == (
        "a (seed 1): no evidence was kept, or none that can be read.",
        "a (seed 2): the learning rate range of its evidence is not whole.",
    )
    none = learning_rate.own_section(tuned({"a": [None]}))
    assert none is not None
    assert not none.blocks


def test_seeds_that_find_other_rates_were_not_computed_differently() -> None:
    records = tuned({"a": [None, None]}).records
    assert _computed_differently(records) == []
    threads = [r.model_copy(update={"protocol": {"threads": r.seed + 1}}) for r in records]
    assert "threads differs between seeds" in _computed_differently(threads)[0]
