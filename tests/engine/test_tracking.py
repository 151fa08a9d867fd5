"""What MLflow, W&B and TensorBoard hold of a training, as their own readers see it."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.divergence import Diverged
from engine.runner import QuietRunner
from engine.trackers import Tracker, Tracking
from engine.tracking import TrackedRun, flat

MakeRunner = Callable[..., QuietRunner]

RUN = TrackedRun(
    trackers=("tensorboard",),
    id="0123456789abcdef",
    project="trickle-toy",
    name="toy detection seed 5",
    tags={
        "benchmark": "toy",
        "backbone": "toy",
        "task": "detection",
        "stage": "detection",
        "seed": "5",
        "git_revision": "a" * 40 + "-dirty",
    },
    params={"recipe.epochs": 120, "recipe.optimizer.nesterov": True, "bold [name]": 0.5},
)


class Error(BaseMetric):
    """Of the network, in percent; beside it what is no number."""

    default_prefix = ""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(sample["output"]) for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, Any]:
        return {"mAP": abs(results[0]), "per_class": results, "n": len(results), "small": None}


class At(Hook):
    """Does something after a step, once."""

    def __init__(self, step: int, do: Callable[[Any], None]) -> None:
        self.step, self.do = step, do

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == self.step:
            self.do(runner)


def interrupt(runner: Any) -> None:
    raise KeyboardInterrupt


def kill(runner: Any) -> None:
    time.sleep(2)  # W&B writes down what it has every second
    os.kill(os.getpid(), signal.SIGKILL)


def poison(runner: Any) -> None:
    runner.model.poison = math.nan


def test_knobs_become_flat_names() -> None:
    tree = {"recipe": {"epochs": 120, "schedule": {"steps": [30, 60]}, "tricks": {"b": {}}}}
    expected = {"recipe.epochs": 120, "recipe.schedule.steps": "[30, 60]", "recipe.tricks.b": "{}"}
    assert flat({"lr": 0.1, "note": None, **tree}) == {"lr": 0.1, "note": None, **expected}


def test_a_damaged_description_costs_no_training(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    assert TrackedRun.read(tmp_path) == RUN
    (file,) = tmp_path.iterdir()
    for damaged in (file.read_text()[:-9], "[]", "{}", json.dumps({"trackers": ["wandb"]})):
        file.write_text(damaged)
        assert TrackedRun.read(tmp_path) is None


class Full(Tracker):
    """A tracker whose disk is full once it has its first loss."""

    title = "Paper"

    def _init_env(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.ended: list[str] = []

    def _log(self, values: dict[str, float], step: int) -> None:
        if any("train/loss" in line for _, line in self.lines):
            raise OSError("No space left on device")
        self.lines.append((step, values))

    def _end(self, how: str, values: dict[str, float], step: int) -> None:
        self.ended.append(how)


def test_a_tracker_that_fails_says_so_once_and_ends_no_training(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    found: list[Full] = []

    def full(work_dir: Path, logger: logging.Logger) -> Tracking:
        found.append(Full(RUN, work_dir, logger))
        return Tracking(tensorboard=False, trackers=tuple(found))

    monkeypatch.setattr("engine.runner.tracking_of", full)
    runner = make_runner(tmp_path, toy(), steps=40)
    runner.train()
    assert runner.iter == 40
    (tracker,) = found
    (*_, (step, values)) = tracker.lines
    assert step == 4  # a tenth of the steps
    assert {"train/loss", "train/lr"} <= values.keys()
    assert tracker.ended == ["ok"], "a run is ended all the same"
    (note,) = [note for note in runner.notes if "Paper" in note]
    assert "No space left on device" in note
    (log,) = tmp_path.glob("*/*.log")
    assert log.read_text().count("No space left on device") == 1
    out, err = capfd.readouterr()
    assert "No space" not in out + err
    assert not list(tmp_path.rglob("events.out.tfevents*")), "TensorBoard was not asked for"


# --- MLflow ---


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite store; its tables take seconds to make."""
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from engine.tracking import mlflow_client

    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    mlflow_client(uri).search_experiments()
    return uri


def described(work_dir: Path, store: str, **changes: Any) -> TrackedRun:
    artifacts = (work_dir.parent / "mlflow").as_uri()
    fields = {"trackers": ("tensorboard", "mlflow"), "id": work_dir.name, **changes}
    run = replace(RUN, store=store, artifacts=artifacts, **fields)
    work_dir.mkdir(exist_ok=True)
    run.write(work_dir)
    return run


def mlflow_run(store: str, run: TrackedRun) -> tuple[Any, Any]:
    """MLflow's client and the one run of this training."""
    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(run.project)
    runs = client.search_runs([experiment.experiment_id])
    (found,) = [other for other in runs if other.data.tags.get("trickle.run") == run.id]
    return client, found


def board(work_dir: Path, name: str) -> dict[int, float]:
    """TensorBoard's values of a scalar by step, over all its files; of two the older one."""
    found = []
    for events in work_dir.rglob("events.out.tfevents*"):
        accumulator = EventAccumulator(str(events)).Reload()
        if name in accumulator.Tags()["scalars"]:
            found += accumulator.Scalars(name)
    return {event.step: event.value for event in sorted(found, key=lambda e: -e.wall_time)}


@pytest.mark.slow  # MLflow takes seconds to import, and more to make its tables
def test_mlflow_holds_one_whole_run_of_a_training_that_goes_on(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    points: Any,
    store: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = described(tmp_path / "job", store)
    options = dict(steps=20, checkpoint_interval=4, val_interval=10, val_loader=points)
    stopped = make_runner(
        tmp_path / "job", toy(), hooks=[At(15, interrupt)], val_metric=Error(), **options
    )
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    client, found = mlflow_run(store, run)
    assert found.info.status == "KILLED"
    assert max(metric.step for metric in client.get_metric_history(found.info.run_id, "train/lr"))
    begun = found.info.run_id
    (tmp_path / "job" / "iter_15.safetensors").unlink(missing_ok=True)  # as if killed: back to 12

    runner = make_runner(tmp_path / "job", toy(), val_metric=Error(), **options)
    runner.train()
    out, err = capfd.readouterr()
    client, found = mlflow_run(store, run)
    assert found.info.run_id == begun
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "toy detection seed 5"
    assert found.data.params == {
        "recipe.epochs": "120",
        "recipe.optimizer.nesterov": "True",
        "bold _name_": "0.5",
    }
    assert found.data.tags.items() >= RUN.tags.items()
    assert found.data.tags["mlflow.source.git.commit"] == "a" * 40

    def history(name: str) -> dict[int, float]:
        points = client.get_metric_history(begun, name)
        assert all(count == 1 for count in Counter(point.step for point in points).values())
        return {point.step: point.value for point in points}

    assert list(history("train/loss")) == list(range(2, 21, 2))
    assert history("train/loss") == pytest.approx(board(tmp_path / "job", "loss"))
    assert history("train/lr") == pytest.approx(board(tmp_path / "job", "lr"))
    assert history("val/mAP") == pytest.approx(board(tmp_path / "job", "mAP"))
    assert history("val/mAP").keys() == {10, 20}
    assert found.data.metrics["mAP"] == runner.train_loop.metrics["mAP"]
    assert not {"n", "per_class", "small"} & found.data.metrics.keys()
    files = client.list_artifacts(begun)
    assert len([file for file in files if file.path.endswith(".log")]) == 2
    assert (tmp_path / "mlflow").is_dir()
    assert out == ""
    assert not [word for word in ("mlflow", "alembic", "sql", "info") if word in err.lower()], err
    assert runner.notes == stopped.notes


@pytest.mark.slow
def test_a_diverged_training_is_a_failed_run(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, store: str
) -> None:
    run = described(tmp_path / "diverged", store, trackers=("mlflow",))
    runner = make_runner(tmp_path / "diverged", toy(), hooks=[At(5, poison)])
    with pytest.raises(Diverged):
        runner.train()
    _, found = mlflow_run(store, run)
    assert found.info.status == "FAILED"
    assert "mAP" not in found.data.metrics
    assert not list(tmp_path.rglob("events.out.tfevents*"))


@pytest.mark.slow
def test_a_store_that_cannot_be_opened_costs_no_training(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow")
    described(tmp_path / "job", f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")
    (tmp_path / "file").write_text("where a folder should be")
    runner = make_runner(tmp_path / "job", toy())
    runner.train()
    assert runner.iter == 20
    (note,) = runner.notes
    assert note.startswith("MLflow does not hold all of this training: ")
    assert board(tmp_path / "job", "loss")


# --- W&B ---


def records(file: Path) -> Iterator[Any]:
    """Those of a .wandb file: a header of 7 bytes, then LevelDB's log format.

    https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, block, offset, whole = file.read_bytes(), 32768, 7, b""
    while offset + 7 <= len(data):
        if block - offset % block < 7:  # no room for a header: padding
            offset += block - offset % block
            continue
        _, length, kind = struct.unpack("<IHB", data[offset : offset + 7])
        whole += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # full, last
            yield Record.FromString(whole)
            whole = b""


def wandb_rows(work_dir: Path) -> list[dict[str, Any]]:
    """History of all parts of a run, oldest first."""
    rows = []
    for file in sorted(work_dir.glob("wandb/offline-run-*/*.wandb")):
        for record in records(file):
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                row = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
                rows.append({"_step": record.history.step.num, **row})
    return rows


@pytest.mark.slow  # W&B starts a process of its own
def test_wandb_keeps_one_run_below_the_work_folder_though_it_is_killed(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    points: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("wandb")
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "job"
    run = described(job, "", trackers=("tensorboard", "wandb"), id="abcd1234abcd1234")
    options = dict(steps=20, checkpoint_interval=4, val_interval=10, val_loader=points)
    killed = make_runner(job, toy(), hooks=[At(15, kill)], val_metric=Error(), **options)
    if (child := os.fork()) == 0:
        try:
            killed.train()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    runner = make_runner(job, toy(), val_metric=Error(), **options)
    runner.train()
    out, err = capfd.readouterr()
    assert out == ""
    assert "wandb" not in err.lower()
    assert [path.name for path in tmp_path.iterdir()] == ["job"]

    parts = sorted(job.glob("wandb/offline-run-*/*.wandb"))
    assert [file.name for file in parts] == [f"run-{run.id}.wandb"] * 2
    (begun,) = [r.run for r in records(parts[0]) if r.WhichOneof("record_type") == "run"][:1]
    assert (begun.project, begun.display_name) == ("trickle-toy", "toy detection seed 5")
    assert (begun.run_id, begun.job_type) == (run.id, "detection")
    assert set(begun.tags) == {"toy", "detection"}
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config.items() >= {**RUN.params, **RUN.tags}.items()

    rows = wandb_rows(job)
    steps = Counter(row["_step"] for row in rows if "train/loss" in row)
    assert steps == Counter(range(2, 21, 2))
    loss = {row["_step"]: row["train/loss"] for row in rows if "train/loss" in row}
    assert loss == pytest.approx(board(job, "loss"))
    checked = {row["_step"]: row["val/mAP"] for row in rows if "val/mAP" in row}
    assert checked == pytest.approx(board(job, "mAP"))
    last = list(records(parts[1]))
    summary = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in last
        if record.WhichOneof("record_type") == "summary"
        for item in record.summary.update
    }
    assert summary["mAP"] == runner.train_loop.metrics["mAP"]
    codes = [
        [r.exit.exit_code for r in records(file) if r.WhichOneof("record_type") == "exit"]
        for file in parts
    ]
    assert codes == [[], [0]]
