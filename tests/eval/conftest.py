"""Stages that take no time, and the records and plans that tests of `eval` are made of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.schema import Benchmark, load_benchmark
from engine.results import Metric
from eval import jobs
from eval.cli import transfer_main
from eval.records import Record
from eval.sections.section import Plot

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


DIGESTS = dict.fromkeys(("pretraining", "detection", "segmentation", "finetune"), "d" * 64)


@dataclass(kw_only=True)
class FakeStages:
    """calls: the jobs that were run, in order, by the names of their folders."""

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls.txt"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    def run(self, *arguments: str, **behavior: str) -> tuple[int, str, str]:
        """`run_transfer.py` in this process; exit code, standard output and standard error."""
        with self.patch.context() as patch:
            for name, value in behavior.items():
                patch.setenv(name, value)
            self.capture.readouterr()
            code = transfer_main(arguments)
        return (code, *self.capture.readouterr())

    def start(self, *arguments: str, **behavior: str) -> subprocess.Popen[str]:
        """The same in a process of its own, to be interrupted."""
        return subprocess.Popen(
            [sys.executable, str(HERE / "fake_run.py"), *arguments],
            env={**os.environ, **behavior},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def empty_plot(plot: Plot, *, prefix: str) -> str:
    return "<svg></svg>"


@pytest.fixture
def stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> FakeStages:
    """Fake stages, data that is there, and a report whose plots are empty: drawing them would take
    most of the time. The working directory is the test's own."""
    monkeypatch.setattr("eval.page.page.plot_svg", empty_plot)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls.txt"))
    monkeypatch.chdir(tmp_path)
    for kind in jobs.MODULES:
        monkeypatch.setitem(jobs.MODULES, kind, "fake_stage")

    def ready(benchmark: Benchmark, **_: object) -> SimpleNamespace:
        return SimpleNamespace(benchmark=benchmark, digests=DIGESTS)

    prepare = SimpleNamespace(ensure_ready=ready, find_ready=ready)
    monkeypatch.setitem(sys.modules, "benchmarks.prepare", prepare)
    return FakeStages(folder=tmp_path, patch=monkeypatch, capture=capfd)


@pytest.fixture
def benchmark_mini() -> Benchmark:
    """mini, at the width that the fake stage reports."""
    mini = load_benchmark("mini")
    return mini.model_copy(update={"backbone": mini.backbone.model_copy(update={"width": 0.25})})


@pytest.fixture
def digests() -> dict[str, str]:
    return DIGESTS


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """A record of status ok; the key counts up."""
    count = iter(range(1, 1000))

    def make(
        backbone: str = "resnet50d_mixup",
        task: str = "detection",
        seed: int = 0,
        metrics: dict[str, float | None] | None = None,
        **changes: object,
    ) -> Record:
        control = None if backbone.startswith("scratch:") else "scratch:resnet50d"
        values = {"mAP": 30.0} if metrics is None else metrics
        content: dict[str, object] = {
            "key": f"{next(count):016x}",
            "lineage": "a" * 16,
            "backbone": backbone,
            "control": control,
            "task": task,
            "benchmark": "mini",
            "protocol": {"data": "d", "budget": {"image_size": [128, 128]}},
            "seed": seed,
            "status": "ok",
            "metrics": {name: Metric(value=value, n=100) for name, value in values.items()},
        }
        return Record.model_validate({**content, **changes})

    return make
