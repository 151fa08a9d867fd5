"""`--tolerate N` of a run reaches its jobs, their protocols and the folder of results."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.schema import Benchmark
from eval.records import read_records

LOST = "train/a/lost.JPEG"


@pytest.fixture
def asked(stages: Any, monkeypatch: pytest.MonkeyPatch, digests: dict[str, str]) -> dict[str, Any]:
    """What the data was asked for; one image of pretraining is left out where that is allowed."""
    said: dict[str, Any] = {}

    def ready(benchmark: Benchmark, **options: Any) -> SimpleNamespace:
        said.update(options)
        budget = benchmark.pretraining.leaving_out([LOST] if options["tolerate"] else [])
        left = benchmark.model_copy(update={"pretraining": budget})
        return SimpleNamespace(benchmark=left, digests=digests)

    fake = SimpleNamespace(ensure_ready=ready, find_ready=ready)
    monkeypatch.setitem(sys.modules, "benchmarks.prepare", fake)
    return said


def test_a_run_and_its_jobs_leave_out_the_same(stages: Any, asked: dict[str, Any]) -> None:
    words = ("--backbone", "resnet50d_mixup", "--tasks", "detection")
    assert stages.run(*words, "--tolerate", "7", "--full")[0] == 0
    assert asked == {"tolerate": 7, "full": True, "warn": True}
    calls = (stages.folder / "calls.txt").read_text().splitlines()
    trained = [call for call in calls if "--benchmark" in call]
    assert len(trained) == 3
    assert all("--tolerate 7" in call for call in trained)
    records = read_records(stages.folder / "runs/mini/records").by_key.values()
    (pretrained,) = (record for record in records if record.task == "classification")
    assert pretrained.protocol["left_out"]["files"] == 1
    assert (stages.folder / "runs/mini/left_out.txt").read_text().endswith(f"{LOST}\n")


def test_other_data_is_another_record(stages: Any, asked: dict[str, Any]) -> None:
    words = ("--backbone", "resnet50d_mixup", "--tasks", "detection")
    assert stages.run(*words)[0] == 0
    assert "--tolerate" not in (stages.folder / "calls.txt").read_text()
    before = len(stages.calls)
    _, out, _ = stages.run(*words, "--tolerate", "1", "--dry-run")
    assert "to do  pretraining   resnet50d_mixup" in out
    assert len(stages.calls) == before
