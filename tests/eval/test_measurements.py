"""Measurements of artifacts stand in plans and records beside the fine-tunings, and apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from benchmarks.schema import Benchmark
from eval.plan import make_plan
from eval.records import Record, Records, read_records
from eval.selection import select_comparable
from eval.specs import parse_specs

ASK = ("--backbone", "resnet50d_mixup", "--out", "out")


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


def row(stages: Stages, name: str) -> dict[str, Any]:
    table = json.loads((stages.folder / "out" / "table.json").read_text())
    return next(row for row in table["rows"] if row["backbone"] == name)


def kinds(stages: Stages) -> list[str]:
    return sorted(call.partition("-")[0] for call in stages.calls)


def test_nothing_is_measured_that_was_not_asked_for(stages: Stages) -> None:
    assert stages.run(*ASK)[0] == 0
    assert kinds(stages) == sorted(["weights", "pretraining", *("detection", "segmentation") * 2])


def test_measurements_are_jobs_on_the_artifact(stages: Stages) -> None:
    """A control has no classifier that could be robust."""
    code, out, err = stages.run(*ASK, "--tasks", "probes", "robustness", "speed")
    assert code == 0, err
    expected = ["weights", "pretraining", *("probes", "speed") * 2, "robustness"]
    assert kinds(stages) == sorted(expected)
    assert "linear_probe 30.0  knn 30.0" in out
    trained, control = row(stages, "resnet50d_mixup"), row(stages, "scratch:resnet50d")
    assert trained["metrics"]["knn"]["delta"] == 10  # 30 less the control's 20
    assert trained["metrics"]["fgsm_top1"]["mean"] == 30
    assert control["metrics"]["fgsm_top1"] is None
    assert trained["cost"]["seconds"] == 10  # of pretraining; measurements are no training
    assert control["cost"]["seconds"] is None


def test_measuring_after_the_fine_tuning_trains_nothing_again(stages: Stages) -> None:
    stages.run(*ASK)
    before = len(stages.calls)
    code, out, _ = stages.run(*ASK, "--tasks", "probes", "detection")
    assert code == 0
    assert sorted(call.partition("-")[0] for call in stages.calls[before:]) == ["probes"] * 2
    assert "mAP" in out


def test_a_crash_of_a_measurement_costs_its_cell_alone(stages: Stages) -> None:
    code, _, _ = stages.run(*ASK, "--tasks", "probes", "speed", FAKE_CRASH="probes-resnet50d")
    assert code == 1
    found = read_records(stages.folder / "out" / "records")
    assert found.bad == ()
    failed = [record for record in found.by_key.values() if record.status == "failed"]
    assert [(record.backbone, record.task) for record in failed] == [("resnet50d_mixup", "probes")]


def test_a_benchmark_without_fine_tunings_can_be_measured(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    bare = benchmark_mini.model_copy(update={"detection": None, "segmentation": None})

    def kinds_of(*tasks: Any) -> set[str]:
        specs = parse_specs(["resnet50d_mixup"])
        none = Records(by_key={})
        plan = make_plan(specs, bare, tasks, (0,), tmp_path, records=none, digests=digests)
        return {job.kind for job in plan.jobs}

    assert {"probes", "speed", "classification", "obtain"} == kinds_of("probes", "speed")
    with pytest.raises(ValueError, match="no detection"):
        kinds_of("probes", "detection")


def test_only_the_fine_tunings_compute_in_parts(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    plan = make_plan(
        parse_specs(["resnet50d_mixup"]),
        benchmark_mini,
        ("detection", "probes"),
        (0,),
        tmp_path,
        records=Records(by_key={}),
        digests=digests,
        auto_accumulate=True,
        tolerate=3,
    )
    words = {job.kind: job.command for job in plan.jobs}
    assert "--auto-accumulate" in words["detection"]
    assert "--auto-accumulate" not in words["probes"]
    assert words["probes"][words["probes"].index("--tolerate") + 1] == "3"


def test_imported_weights_have_no_classifier_of_the_benchmarks_classes(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    plan = make_plan(
        parse_specs(["timm:resnet10t"]),
        benchmark_mini,
        ("probes", "robustness"),
        (0,),
        tmp_path,
        records=Records(by_key={}),
        digests=digests,
    )
    assert [job.kind for job in plan.jobs if not job.makes_artifact] == ["probes", "probes"]


def test_a_newer_measurement_leaves_older_fine_tunings_in_their_table(
    make_record: Callable[..., Record],
) -> None:
    early = {"finished": "2026-01-01T00:00:00.000+00:00"}
    late = {"finished": "2026-02-01T00:00:00.000+00:00"}
    detection = make_record(environment=early)
    probes = make_record(task="probes", metrics={"knn": 5.0}, protocol={"C": 2}, environment=late)
    selection = select_comparable([probes, detection])
    assert selection.left_out == ()
    assert selection.tasks == ("detection", "probes")
