"""The report's section on the backbones among which one was chosen by probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binomtest

from engine.results import Metric
from eval.records import Record
from eval.sections.material import Material
from eval.sections.own_candidates import section
from eval.sections.section import Grid
from tests.eval.report_material import material_of, record_of


def about(data: str = "d" * 16, side: int = 64) -> dict[str, Any]:
    return {"data": data, "budget": {"image_size": side, "resize_size": side + 8}}


def probes_of(
    backbone: str, linear_probe: float, knn: float, protocol: dict[str, Any] | None = None,
    **changes: Any,
) -> Record:  # fmt: skip
    metrics = {
        "linear_probe": Metric(value=linear_probe, n=80),
        "knn": Metric(value=knn, n=80),
    }
    content = {"task": "probes", "metrics": metrics, "protocol": protocol or about(), **changes}
    return record_of(backbone, 0, None, **content)


def tuned_beside(*probes: Record) -> Material:
    metrics = {"tuned_top1": Metric(value=50.0, n=10)}
    row = record_of("a~linear", 0, None, task="finetune", protocol=about(),
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
        (probes_of("a", 75.0, 50.0), probes_of("b", 70.0, 60.0, about(data="before"))),
        (probes_of("a", 75.0, 50.0), probes_of("b", 70.0, 60.0, about(side=96))),
    ],
)
def test_nothing_is_said_of_one_candidate_or_of_other_images(probes: tuple[Record, ...]) -> None:
    assert section(tuned_beside(*probes)) is None


def test_the_newest_of_one_question_are_shown_in_any_order() -> None:
    """Not the best of each backbone, of whichever revision: those would be of two questions."""
    old = [
        probes_of("b", 85.0, 60.0, {**about(), "revision": 1},
                  environment={"finished": "2026-01-01T00:00:00+00:00"}),
        probes_of("a", 50.0, 60.0, {**about(), "revision": 1},
                  environment={"finished": "2026-01-02T00:00:00+00:00"}),
    ]  # fmt: skip
    new = [
        probes_of("a", 90.0, 60.0, environment={"finished": "2026-01-03T00:00:00+00:00"}),
        probes_of("b", 80.0, 60.0, environment={"finished": "2026-01-03T00:00:00+00:00"}),
    ]
    failed = probes_of("b", 0.0, 0.0, status="failed", metrics={}, message="no memory")
    for probes in ([*old, *new, failed], [failed, *reversed(new), *old]):
        made = section(tuned_beside(*probes))
        assert made is not None
        assert made.lead.startswith("Of 2 candidates a has")
        assert "90.0%" in made.lead
