"""What a machine can do is measured while nothing else runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from eval.expected_time import Estimate, makespan
from eval.process import Ended, run_process


class Stages(Protocol):
    folder: Path

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


def test_speed_is_measured_while_no_other_job_runs(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.execute.default_slots", lambda: 3)
    code, _, err = stages.run(
        "--backbone", "resnet50d_mixup", "--out", "out", "--tasks", "speed", "probes",
        FAKE_SECONDS="0.1",
    )  # fmt: skip
    assert code == 0, err
    spans: dict[str, list[float]] = {}
    for line in (stages.folder / "spans.txt").read_text().splitlines():
        job, _, time, _ = line.split()
        spans.setdefault(job, []).append(float(time))

    def beside(job: str) -> set[str]:
        begin, end = spans[job]
        return {other for other, (b, e) in spans.items() if other != job and b < end and e > begin}

    timed = [job for job in spans if job.startswith("speed")]
    assert len(timed) == 2
    assert [beside(job) for job in timed] == [set(), set()]
    assert any(beside(job) for job in spans)  # the others do share the machine


def test_speed_is_measured_on_all_cores(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: dict[str, float] = {}

    def run(command: Sequence[str], *, cores: float, **options: Any) -> Ended:
        task = command[command.index("--result") + 1] if "--result" in command else "weights"
        shares[Path(task).parent.name.partition("-")[0]] = cores
        return run_process(command, cores=cores, **options)

    monkeypatch.setattr("eval.execute.default_slots", lambda: 4)
    monkeypatch.setattr("eval.execute.job_cores", lambda: 8.0)
    monkeypatch.setattr("eval.execute.run_process", run)
    code, _, err = stages.run("--backbone", "scratch:resnet50d", "--out", "out", "--tasks",
                              "speed", "probes")  # fmt: skip
    assert code == 0, err
    assert (shares["speed"], shares["probes"]) == (8.0, 2.0)


def test_the_expected_time_knows_that_it_runs_alone() -> None:
    # Two slots: a and b beside each other until 5, and then s until 7.
    times = {"a": 5.0, "s": 2.0, "b": 5.0}
    jobs: Any = [SimpleNamespace(id=n, needs=(), runs_alone=n == "s") for n in times]
    by_job = {name: Estimate(seconds=value, basis="") for name, value in times.items()}
    assert makespan(jobs, by_job, 2) == 7.0
