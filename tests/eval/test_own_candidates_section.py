"""The report's section on the backbones among which one was chosen by probes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import binomtest

from engine.results import Metric
from eval.records import Record
from eval.sections.material import Material
from eval.sections.own_candidates import section
from eval.sections.section import Grid
from tests.eval.report_material import material_of, record_of


def probes_of(backbone: str, linear_probe: float, knn: float, data: str = "d" * 16) -> Record:
    metrics = {
        "linear_probe": Metric(value=linear_probe, n=80),
        "knn": Metric(value=knn, n=80),
    }
    changes = {"task": "probes", "metrics": metrics, "protocol": {"data": data}}
    return record_of(backbone, 0, None, **changes)


def tuned_beside(*probes: Record) -> Material:
    metrics = {"tuned_top1": Metric(value=50.0, n=10)}
    row = record_of("a~linear", 0, None, task="finetune", protocol={"data": "d" * 16},
                    metrics=metrics)  # fmt: skip
    return replace(material_of([row]), probes=probes)


def test_the_candidates_stand_best_first_with_intervals_over_the_images() -> None:
    made = section(
        tuned_beside(probes_of("b", 70.0, 60.0), probes_of("a", 75.0, 50.0), probes_of("c", 0, 0))
    )
    assert made is not None
    assert made.lead.startswith("Of 3 candidates a has the best features")
    assert "75.0%" in made.lead
    assert "b, on 70.0%" in made.lead
    (grid,) = (block for block in made.blocks if isinstance(block, Grid))
    assert [row[0].text for row in grid.rows] == ["a", "b", "c"]
    ends = binomtest(60, 80).proportion_ci(method="wilson")
    low, high = 100 * ends.low, 100 * ends.high
    assert grid.rows[0][1].text == f"75.0 ± {(high - low) / 2:.1f}"
    assert grid.rows[0][1].detail == f"95% interval {low:.1f} to {high:.1f}"
    assert grid.rows[2][1].sort == 0.0
    assert [cell.text for cell in grid.rows[1][2:]] == ["60.0 ± 10.5", "80"]


@pytest.mark.parametrize(
    "probes",
    [
        (),
        (probes_of("a", 75.0, 50.0),),
        (probes_of("a", 75.0, 50.0), probes_of("b", 70.0, 60.0, data="before")),
    ],
)
def test_nothing_is_said_of_one_candidate_or_of_other_images(probes: tuple[Record, ...]) -> None:
    assert section(tuned_beside(*probes)) is None
