"""Hundreds of jobs in a row: the process that starts them stays as small as it was."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.execute import LocalExecutor
from eval.jobs import Job
from eval.layout import Layout
from eval.plan import Plan
from eval.records import read_records
from eval.specs import parse_spec

Measured = Callable[[str], None]


class Silent:
    """A watcher that measures after each job."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.handles: list[int] = []
        self.threads: list[int] = []
        self.children: list[int] = []

    def started(self, job: Job, number: int, total: int) -> None:
        pass

    def waits(self, job: Job, number: int, total: int, *, holder: str) -> None:
        raise AssertionError("nobody else is here")

    def ended(self, job: Job, number: int, total: int, **how: str) -> None:
        assert how["end"] == "ok", how
        gc.collect()  # of what is ours alone, see `soak`
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**10)
        self.handles.append(len(os.listdir("/proc/self/fd")))
        self.threads.append(threading.active_count())
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        self.children.append(len(listed))


def soak(folder: Path, jobs: int, slots: int, *, most: float) -> str:
    """Runs `jobs` jobs that write a line and a result; gives what was measured.

    most: KiB that each may add to the memory in use; the more jobs, the less the noise.
    """
    metric = {"value": 30.0, "unit": "percent", "n": 100}
    template = folder / "result.json"
    template.write_text(json.dumps({"status": "ok", "metrics": {"mAP": metric}}))
    (spec,) = parse_spec("scratch:resnet50d")

    def job(number: int) -> Job:
        work = folder / "out" / "work" / str(number)
        result = work / "result.json"
        script = f"echo step 1 of 1 >&2; echo done; cp {template} {result}"
        return Job(
            kind="detection",
            id=f"detection-{number}",
            spec=spec,
            seed=number,
            command=("/bin/sh", "-c", script),
            artifact=folder / "none",
            work=work,
            result=result,
            key=f"{number:016x}",
            lineage="a" * 16,
            benchmark="mini",
        )

    plan = Plan(
        benchmark="mini",
        tasks=("detection",),
        seeds=tuple(range(jobs)),
        rows=(spec,),
        jobs=tuple(job(number) for number in range(jobs)),
        cells=(),
    )
    watcher = Silent()
    executor = LocalExecutor(Layout(folder / "out"), watcher, command="soak", slots=slots)
    gc.freeze()
    try:
        assert executor.execute(plan).failed == ()
    finally:
        gc.unfreeze()
    assert len(read_records(folder / "out" / "records").by_key) == jobs
    settled = jobs // 4  # until then things are imported and caches filled
    slope = float(np.polyfit(range(jobs - settled), watcher.memory[settled:], 1)[0])
    growth = watcher.memory[-1] - watcher.memory[settled]
    assert slope < most
    assert max(watcher.handles[settled:]) - min(watcher.handles[settled:]) <= 6 * slots
    assert watcher.handles[-1] <= watcher.handles[settled] + 6 * slots
    assert max(watcher.threads[settled:]) <= threading.active_count() + 4 * slots
    assert max(watcher.children) <= slots  # and so none that is dead and not waited for
    assert sorted((folder / "out" / "locks").glob("*")) == []
    return (
        f"{jobs} jobs: {slope:+.2f} KiB each ({growth:+.0f} KiB in all), handles "
        f"{watcher.handles[settled]} to {watcher.handles[-1]}, 0 dead children"
    )


@pytest.mark.reliability(
    14, "Memory, open files, threads and child processes of a run stay flat over its jobs."
)
def test_forty_jobs_in_a_row(tmp_path: Path, measured: Measured) -> None:
    measured(soak(tmp_path, 40, slots=2, most=25))


@pytest.mark.slow
@pytest.mark.reliability(
    14, "The same over 200 jobs, where less than 5 KiB for each job is asked for."
)
@pytest.mark.parametrize("slots", [1, 4])
def test_two_hundred_jobs_in_a_row(tmp_path: Path, slots: int, measured: Measured) -> None:
    measured(f"{slots} at once, {soak(tmp_path, 200, slots=slots, most=5)}")
