"""Results of stages: the round trip, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.results import Metric, StageResult


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    result = StageResult(
        status="ok",
        metrics={"mAP": Metric(value=31.25, n=200)},
        per_class={"mAP": {"melon": 40.0, "leaf": None}},
        cost={"seconds": 71.5},
        protocol={"budget": {"image_size": [128, 128]}},
        environment={"cpu": "a processor"},
    )
    result.write(tmp_path / "result.json")
    assert StageResult.read(tmp_path / "result.json") == result
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["metrics"]["mAP"] == {
        "value": 31.25,
        "unit": "percent",
        "n": 200,
        "higher_is_better": True,
    }


def test_nan_is_written_as_null() -> None:
    """A class without objects has no AP; JSON has no NaN."""
    result = StageResult(
        status="ok",
        metrics={"mAP": Metric(value=math.nan, n=0)},
        per_class={"mAP": {"melon": math.nan}},
    )
    written = json.loads(result.model_dump_json())
    assert written["metrics"]["mAP"]["value"] is None
    assert written["per_class"]["mAP"]["melon"] is None


@pytest.mark.parametrize("value", [-1.0, 100.5, math.inf])
def test_a_percent_metric_lies_in_0_to_100(value: float) -> None:
    with pytest.raises(ValidationError):
        Metric(value=value, n=1)
    assert Metric(value=0.0, n=1).value == 0.0
    assert Metric(value=100.0, n=1).value == 100.0


def test_another_unit_has_other_bounds() -> None:
    assert Metric(value=250.0, unit="ms", n=1, higher_is_better=False).value == 250.0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "fine"}', '{"status": "ok", "x": 1}'])
def test_what_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result\.json is not a stage's result"):
        StageResult.read(tmp_path / "result.json")
