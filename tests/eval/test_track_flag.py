"""`--track`: what a plan's trainings are told to tell, and what it leaves as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from benchmarks.schema import Benchmark
from engine import tracking
from engine.tracking import TrackedRun, experiment_id, find_run, mlflow_client
from eval.layout import Layout
from eval.plan import Plan, make_plan
from eval.records import Records
from eval.specs import parse_specs
from eval.tracking import Tracking


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def run(self, *arguments: str, **behavior: str) -> tuple[int, str, str]: ...


MakePlan = Callable[[Path], Plan]


@pytest.fixture
def plan_of(benchmark_mini: Benchmark, digests: dict[str, str]) -> MakePlan:
    """A pretraining, both fine-tunings of it and a measurement; with those of its control."""

    def make(out: Path) -> Plan:
        specs = parse_specs(["resnet50d_mixup"])
        tasks = ("detection", "segmentation", "probes")
        records = Records(by_key={})
        return make_plan(specs, benchmark_mini, tasks, [3], out, records=records, digests=digests)

    return make


def described(out: Path) -> dict[str, dict[str, Any]]:
    files = out.glob("work/*/tracking.json")
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def test_a_package_that_is_not_there_is_wrong_usage(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tracker, package in {"wandb": "wandb", "mlflow": "alembic"}.items():
        monkeypatch.setattr(tracking, "find_spec", lambda name, gone=package: name != gone or None)
        code, out, err = stages.run("--backbone", "resnet50d_mixup", "--track", tracker)
        assert code == 2
        assert err.splitlines() == [
            f"error: --track {tracker} needs packages that are not installed: "
            "pip install 'trickle[tracking]'"
        ]
        assert out == ""
    assert not (stages.folder / "runs").exists()


def test_records_are_the_same_however_they_are_tracked(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: name)
    arguments = ("--backbone", "resnet50d_mixup", "--tasks", "detection")
    for out, more in {"plain": (), "tracked": ("--track", "wandb", "tensorboard")}.items():
        assert stages.run(*arguments, "--out", out, *more)[0] == 0
    plain, tracked = (stages.folder / out for out in ("plain", "tracked"))
    records = {path.name for path in plain.glob("records/*")}
    assert len(records) == 3
    assert {path.name for path in tracked.glob("records/*")} == records
    assert described(plain) == {}, "TensorBoard is what a training does of itself"
    assert {tuple(run["trackers"]) for run in described(tracked).values()} == {
        ("tensorboard", "wandb")
    }
    calls = stages.calls
    assert len(calls) == 8, "what is tracked is trained by the same commands"
    assert sorted(calls[:4]) == sorted(calls[4:])


def test_a_run_says_of_what_it_is(
    plan_of: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plan, said = plan_of(tmp_path), list[str]()
    Tracking(trackers=("wandb",), layout=Layout(tmp_path), say=said.append).describe(plan)
    runs = described(tmp_path)
    trained = [job for job in plan.jobs if job.kind not in ("obtain", "probes")]
    assert runs.keys() == {job.work.name for job in trained}
    assert len({run["id"] for run in runs.values()}) == len(trained) == 5
    (job,) = [j for j in trained if j.kind == "detection" and j.spec.name == "resnet50d_mixup"]
    run = runs[job.work.name]
    assert run["name"] == "resnet50d_mixup detection seed 3"
    assert run["project"] == "trickle-mini"
    expected = {"benchmark": "mini", "backbone": "resnet50d_mixup", "task": "detection"}
    assert run["tags"].items() >= {**expected, "stage": "detection", "seed": "3"}.items()
    params = run["params"]
    assert params["pretraining.recipe.tricks.mixup.alpha"] == 0.2  # He et al., section 5.3
    assert params["pretraining.recipe.epochs"] == 200
    assert params["budget.iterations"] == job.protocol["budget"]["iterations"]
    assert run["store"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert run["artifacts"] == f"file://{tmp_path}/mlflow"
    assert said == []


def test_a_training_that_goes_on_keeps_its_run(plan_of: MakePlan, tmp_path: Path) -> None:
    def describe(*trackers: str) -> dict[str, Any]:
        plan = plan_of(tmp_path)
        Tracking(trackers=trackers, layout=Layout(tmp_path), say=pytest.fail).describe(plan)
        return described(tmp_path)

    first, again, none = (
        describe("wandb"),
        describe("wandb", "tensorboard"),
        describe("tensorboard"),
    )
    assert {name: run["id"] for name, run in first.items()} == {
        name: run["id"] for name, run in again.items()
    }
    assert {tuple(run["trackers"]) for run in none.values()} == {("tensorboard",)}
    assert describe("wandb") == first


@pytest.mark.slow  # MLflow takes seconds to import, and more to make its tables
def test_a_job_that_died_is_a_failed_run_and_a_broken_store_is_said(
    plan_of: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Layout(tmp_path).locks.mkdir()
    plan, said = plan_of(tmp_path), list[str]()
    asked = Tracking(trackers=("mlflow",), layout=Layout(tmp_path), say=said.append)
    asked.describe(plan)
    dead, untouched, *_ = [job for job in plan.jobs if job.kind in ("detection", "segmentation")]
    run = TrackedRun.read(dead.work)
    assert run is not None
    client = mlflow_client(run.store)
    begun = client.create_run(experiment_id(client, run), tags={"trickle.run": run.id})
    asked.mark_failed([dead, untouched])
    found = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(begun.info.run_id)
    assert found.info.status == "FAILED"
    assert find_run(client, TrackedRun.read(untouched.work)) is None, "a job that never began"
    assert said == []

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none/mlflow.db")
    (tmp_path / "none").write_text("a file")
    asked.describe(plan)
    (line,) = said
    assert line.startswith("MLflow will hold nothing of this run: ")


def test_a_run_ends_by_saying_where_it_was_tracked(
    plan_of: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plan, layout = plan_of(tmp_path), Layout(tmp_path)
    asked = Tracking(trackers=("wandb",), layout=layout, say=pytest.fail)
    asked.describe(plan)
    assert asked.places(plan) == [], "no training has begun"
    (job,) = [j for j in plan.jobs if j.kind == "detection" and not j.spec.is_control]
    (job.work / "wandb/offline-run-20260101_000000-x").mkdir(parents=True)
    (line,) = asked.places(plan)
    assert line.startswith("W&B: offline")
    assert f"wandb sync {job.work.parent}/*/wandb/offline-run-*" in line
    both = Tracking(trackers=("mlflow", "wandb"), layout=layout, say=pytest.fail)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    assert both.places(plan) == [f"MLflow: {store} (mlflow ui --backend-store-uri {store})", line]
