"""From a stage's result to a record: what is added, and what is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.schema import Benchmark
from classification.identity import artifact_name, trained_identity
from eval.jobs import Job
from eval.plan import make_plan
from eval.recording import as_planned, record_left_behind, record_of_card, record_of_result
from eval.records import Records
from eval.specs import parse_specs


@pytest.fixture
def jobs(benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path) -> dict[str, Job]:
    """The jobs of resnet50d_mixup, by kind."""
    plan = make_plan(
        parse_specs(["resnet50d_mixup"]),
        benchmark_mini,
        ["detection"],
        [0],
        tmp_path,
        records=Records(by_key={}),
        digests=digests,
        controls=False,
    )
    return {job.kind: job for job in plan.jobs}


def write_result(job: Job, **content: Any) -> None:
    assert job.result is not None
    job.result.parent.mkdir(parents=True)
    metric = {"value": 31.0, "unit": "percent", "n": 200}
    job.result.write_text(json.dumps({"status": "ok", "metrics": {"mAP": metric}} | content))


def test_a_plan_and_pretraining_alone_agree_where_an_artifact_lies(
    jobs: dict[str, Job], benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    identity = trained_identity("resnet50d_mixup", benchmark_mini, digests, 0)
    expected = tmp_path / "artifacts" / artifact_name("resnet50d_mixup", identity)
    assert jobs["classification"].artifact == expected
    assert jobs["detection"].artifact == expected


def test_what_the_machine_adds_to_the_protocol_stands_in_it(
    jobs: dict[str, Job],
) -> None:
    job = jobs["detection"]
    ran = {"precision": "bfloat16", "micro_batch": 16, "reference_paths": "half"}
    write_result(job, protocol={**job.protocol, **ran})
    record = record_of_result(job, command="trickle run")
    planned = json.loads(json.dumps(job.protocol))
    assert record.protocol == {**planned, **ran}
    assert record.key == job.key
    assert as_planned(record.protocol) == planned
    assert record.environment["command"] == "trickle run"
    assert record.control == "scratch:resnet50d"
    assert record.tricks[-2:] == ("mixup", "epochs")


def test_a_record_says_where_weights_of_others_come_from(
    jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = {"weights_hub": "a/b", "weights_commit": "c" * 40, "license": "mit", "published": {}}
    card = SimpleNamespace(weights="imported", notes=notes, sha256="0" * 64, cost=None)
    monkeypatch.setattr("eval.recording.card_of", lambda job: card)
    write_result(jobs["detection"], protocol=jobs["detection"].protocol)
    environment = record_of_result(jobs["detection"], command="x").environment
    said = {key: text for key, text in environment.items() if key.startswith("imported_")}
    assert said == {
        "imported_hub": "a/b",
        "imported_commit": "c" * 40,
        "imported_license": "mit",
    }


def test_a_result_of_another_protocol_is_refused(jobs: dict[str, Job]) -> None:
    """A benchmark file that is edited during a run."""
    job = jobs["detection"]
    write_result(job, protocol={**job.protocol, "data": "e" * 64})
    with pytest.raises(ValueError, match="data"):
        record_of_result(job, command="trickle run")


def test_a_pretraining_without_an_artifact_is_refused(jobs: dict[str, Job]) -> None:
    write_result(jobs["classification"])
    with pytest.raises(ValueError, match="left no artifact"):
        record_of_result(jobs["classification"], command="trickle run")
    assert record_of_card(jobs["classification"], command="trickle run") is None


@pytest.mark.parametrize("content", [None, "{ torn", '{"status": "diverged"}'])
def test_without_a_whole_result_the_card_is_believed(
    jobs: dict[str, Job], content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs["classification"]
    known = {"top1": 50.0, "top5": 80.0, "n": 100}
    facts = {"sha256": "a" * 64, "cost": {}, "versions": {}, "notes": {}}
    card = SimpleNamespace(weights="trained", metrics=known, **facts)
    monkeypatch.setattr("eval.recording.card_of", lambda job: card)
    if content is not None:
        write_result(job)
        assert job.result is not None
        job.result.write_text(content)
    record = record_left_behind(job, command="trickle run")
    assert record is not None
    assert record.status == "ok"
    assert {name: metric.value for name, metric in record.metrics.items()} == {
        "top1": 50.0,
        "top5": 80.0,
    }


@pytest.mark.parametrize("content", ["", "{}", '{"status": "ok", "metrics": {"mAP": 3}}'])
def test_a_broken_result_is_named(jobs: dict[str, Job], content: str) -> None:
    job = jobs["detection"]
    assert job.result is not None
    job.result.parent.mkdir(parents=True)
    job.result.write_text(content)
    with pytest.raises(ValueError, match=r"result\.json"):
        record_of_result(job, command="trickle run")
