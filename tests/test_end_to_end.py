"""One command from images on disk to a table, all stages real: the main job in small.

It runs with its network cut.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backbones import load_artifact
from eval.records import Record, read_records
from tests.network.cut_network import CutNetwork, own_network

ROOT = Path(__file__).parents[1]
BACKBONE, CONTROL = "resnet18d_mixup", "scratch:resnet18d"
METRICS = {"detection": "mAP", "segmentation": "mIoU"}


def run_transfer(folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """The command from a directory of the user's own, and the seconds of CPU that it took."""
    command = [*own_network(), sys.executable, str(ROOT / "eval/run_transfer.py")]
    network = CutNetwork(folder / "sockets.txt")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, "--backbone", BACKBONE, "--benchmark", "../squares.toml", "--out", "out"],
        cwd=folder / "mine",
        env={
            **os.environ,
            **network.environment,
            "TRICKLE_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    directory = tmp_path_factory.mktemp("end_to_end")
    make_benchmark(directory)
    (directory / "mine").mkdir()
    done, _ = run_transfer(directory)
    assert done.returncode == 0, done.stderr
    (directory / "stdout.txt").write_text(done.stdout)
    return directory


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    return folder / "mine/out"


@pytest.fixture(scope="module")
def records(out: Path) -> dict[tuple[str, str], Record]:
    found = read_records(out / "records")
    assert found.bad == ()
    return {(record.backbone, record.task): record for record in found.by_key.values()}


def test_every_cell_has_its_record(records: dict[tuple[str, str], Record]) -> None:
    cells = {(name, task) for name in (BACKBONE, CONTROL) for task in METRICS}
    assert records.keys() == cells | {(BACKBONE, "classification")}
    for record in records.values():
        assert (record.status, record.seed, record.benchmark) == ("ok", 0, "squares")
        assert record.control == (CONTROL if record.backbone == BACKBONE else None)
        assert record.protocol["data"]
        assert record.cost["seconds"] > 0


@pytest.mark.reliability(13, "a whole run asks for no network and opens no port")
def test_no_network_is_asked_for(folder: Path, measured: Callable[[str], None]) -> None:
    network = CutNetwork(folder / "sockets.txt")
    assert network.processes >= 1 + 6, "the run and each of its jobs"
    assert network.attempts == []
    cut = "by the kernel (unshare) and in Python" if own_network() else "in Python"
    measured(f"cut {cut}; {network.processes} processes, 0 attempts")


def test_the_table_holds_what_the_records_say(
    out: Path, records: dict[tuple[str, str], Record]
) -> None:
    table = json.loads((out / "table.json").read_text())
    assert (table["benchmark"], table["baseline"]) == ("squares", CONTROL)
    assert [row["backbone"] for row in table["rows"]] == [BACKBONE, CONTROL]
    trained, control = table["rows"]
    assert "mixup" in trained["tricks"]
    assert control["tricks"] == []
    for row in table["rows"]:
        for task, metric in METRICS.items():
            value = row["metrics"][metric]["mean"]
            assert 0 <= value <= 100
            assert value == pytest.approx(records[row["backbone"], task].metrics[metric].value)
            assert row["metrics"][metric]["n"] == 1
    for metric in METRICS.values():
        difference = trained["metrics"][metric]["mean"] - control["metrics"][metric]["mean"]
        assert trained["metrics"][metric]["delta"] == pytest.approx(difference)
    top1 = records[BACKBONE, "classification"].metrics["top1"].value
    assert trained["metrics"]["top1"]["mean"] == pytest.approx(top1)
    assert control["metrics"]["top1"] is None, "random weights have no accuracy, not 0"


def test_the_artifacts_are_what_was_measured(
    out: Path, records: dict[tuple[str, str], Record]
) -> None:
    artifacts = {load_artifact(path).card.weights: path for path in (out / "artifacts").iterdir()}
    assert artifacts.keys() == {"trained", "random"}
    table = json.loads((out / "table.json").read_text())
    for row, kind in zip(table["rows"], ("trained", "random"), strict=True):
        backbone = load_artifact(artifacts[kind])
        assert row["cost"]["parameters"] == sum(p.numel() for p in backbone.parameters())
        for task in METRICS:
            assert records[row["backbone"], task].weights_sha256 == backbone.card.sha256


def test_the_screen_ends_with_the_table(folder: Path, out: Path) -> None:
    lines = (folder / "stdout.txt").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert [any(name in row for row in rows) for name in (BACKBONE, CONTROL)] == [True, True]
    for name in ("table.md", "table.csv", "table.json"):
        assert (out / name).is_file()
        assert any(f"out/{name}" in line for line in lines[-3:]), "where the files lie"
    with open(out / "table.csv", newline="") as file:
        assert [line[0] for line in csv.reader(file)][1:] == [BACKBONE, CONTROL]


def test_a_second_call_trains_nothing(folder: Path, out: Path) -> None:
    def state() -> dict[str, int]:
        files = (path for name in ("records", "artifacts", "work") for path in out.rglob(name))
        return {str(p): p.stat().st_mtime_ns for top in files for p in top.rglob("*")}

    before, table = state(), (out / "table.json").read_text()
    done, seconds = run_transfer(folder)
    assert done.returncode == 0
    assert seconds < 10
    assert state() == before
    assert (out / "table.json").read_text() == table
    assert "6 are done already" in done.stdout
