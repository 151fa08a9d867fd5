"""A stage whose batch memory does not hold: one line, or the same batch in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.results import StageResult

CASES = [
    pytest.param("classification", 8, "[pretraining]", id="classification"),
    pytest.param("detection", 2, "[detection]", id="detection", marks=pytest.mark.slow),
    pytest.param("segmentation", 2, "[segmentation]", id="segmentation", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def stages(make_stages: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_stages(tmp_path_factory.mktemp("memory"))


@pytest.mark.reliability(8, "a stage without memory fails with one line and no traceback")
@pytest.mark.parametrize(("task", "batch", "table"), CASES)
def test_one_line(
    stages: Any, measured: Callable[[str], None], task: str, batch: int, table: str
) -> None:
    (process,) = stages.start(task, f"{task}-small", holds=batch // 2)
    process.join(120)
    (said,) = stages.log(f"{task}-small").read_text().splitlines()
    assert process.exitcode == 2, said
    assert said.startswith(f"error: out of memory at step 1 of 12, with {batch} images at once: ")
    assert table in said
    assert "--auto-accumulate" in said
    assert not (stages.folder / f"{task}-small" / "result.json").exists()
    measured(f"{task}: {said.partition(', with ')[2].partition('. To go on')[0]}")


@pytest.mark.reliability(
    8, "with --auto-accumulate the stage runs in halves, and its result says so"
)
@pytest.mark.parametrize(("task", "batch", "table"), CASES)
def test_in_parts(
    stages: Any, measured: Callable[[str], None], task: str, batch: int, table: str
) -> None:
    (process,) = stages.start(task, f"{task}-parts", "--auto-accumulate", holds=batch // 2)
    process.join(120)
    assert process.exitcode == 0, stages.log(f"{task}-parts").read_text()
    result = StageResult.read(stages.folder / f"{task}-parts" / "result.json")
    assert result.status == "ok"
    assert result.cost["iterations"] == 12, "optimizer steps, as many as with the whole batch"
    assert result.protocol["micro_batch"] == batch // 2
    (note,) = result.notes
    assert f"2 parts of {batch // 2}" in note
    seen = stages.seen(f"{task}-parts")["train"]
    assert [len(step) for step in seen] == [batch] * 12
    measured(f"{task}: {note.partition(':')[0]}, then 2 parts of {batch // 2}")
