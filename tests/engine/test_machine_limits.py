"""Cores and memory as containers leave them, and the threads that follow from the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import machine_limits
from engine.threads import CORES_VARIABLE, job_cores, variables

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("files", "cores", "limit", "left"),
    [
        (  # version 2, a limit set by the parent
            {
                "proc": "0::/a/b\n",
                "cgroup/a/b/cpu.max": "max 100000\n",
                "cgroup/a/b/memory.max": "max\n",
                "cgroup/a/cpu.max": "50000 100000\n",
                "cgroup/a/memory.max": "1073741824\n",
                "cgroup/a/memory.current": "1048576\n",
            },
            0.5,
            2**30,
            2**30 - 2**20,
        ),
        (  # version 1
            {
                "proc": "4:memory:/x\n3:cpu,cpuacct:/x\n",
                "cgroup/memory/x/memory.limit_in_bytes": "2147483648\n",
                "cgroup/memory/x/memory.usage_in_bytes": "4096\n",
                "cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "150000\n",
                "cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            1.5,
            2**31,
            2**31 - 4096,
        ),
        (
            {"proc": "4:memory:/x\n", "cgroup/memory/memory.limit_in_bytes": str(2**63)},
            4.0,
            None,
            None,
        ),
    ],
)
def test_the_limits_of_a_container(
    files: dict[str, str],
    cores: float,
    limit: int | None,
    left: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine_limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine_limits, "OWN_CGROUPS", tmp_path / "proc")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert machine_limits.usable_cores() == cores
    assert machine_limits.memory_limit() == limit
    assert machine_limits.memory_left() == left


@pytest.mark.parametrize(("cores", "threads"), [(0.5, "1"), (1.5, "1"), (2.0, "2"), (16.0, "16")])
def test_a_thread_for_each_whole_core(cores: float, threads: str) -> None:
    assert variables(cores)["OMP_NUM_THREADS"] == threads
    assert variables(cores)["RAYON_NUM_THREADS"] == threads


@pytest.mark.parametrize(("share", "expected"), [("1", 1.0), ("64", 4.0), ("", 4.0), ("x", 4.0)])
def test_a_job_counts_on_its_share(
    share: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.threads.usable_cores", lambda: 4.0)
    monkeypatch.setenv(CORES_VARIABLE, share)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert job_cores() == expected
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # torchrun's: as many processes share it
    assert job_cores() == expected / 4


@pytest.mark.parametrize(
    ("share", "given"), [("1", None), pytest.param("2", "1", marks=pytest.mark.slow)]
)
def test_the_libraries_follow_the_choice(share: str, given: str | None) -> None:
    """Asked in a process of its own: they read the choice when they are imported."""
    environment = {key: value for key, value in os.environ.items() if key not in variables(1)}
    environment |= {"PYTHONPATH": str(ROOT), CORES_VARIABLE: share}
    if given is not None:
        environment["OMP_NUM_THREADS"] = given
    asked = (
        "from engine.threads import choose_threads; choose_threads(); import os, torch, cv2;"
        "print(torch.get_num_threads(), cv2.getNumThreads(), os.environ['OMP_WAIT_POLICY'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["1", "1", "PASSIVE"]


@pytest.mark.parametrize("threads", [1, 3])
def test_scoring_has_no_more_threads_than_were_chosen(threads: int) -> None:
    """COCO's evaluator brings a pool of its own, one thread for each core of the machine."""
    environment = {key: value for key, value in os.environ.items() if key not in variables(1)}
    environment |= {"PYTHONPATH": str(ROOT), "RAYON_NUM_THREADS": str(threads)}
    asked = """
import os
from engine.threads import choose_threads, threads_in_words
choose_threads()
import numpy as np
from detection.coco_average_precision import coco_average_precisions
from detection.scored_image import ScoredImage
before = len(os.listdir("/proc/self/task"))
labels, boxes = np.arange(20) % 10, np.tile([0.0, 0.0, 5.0, 5.0], (20, 1))
image = ScoredImage(
    boxes=boxes, scores=np.ones(20), labels=labels, truth=boxes, truth_labels=labels,
    difficult=np.zeros(20, bool), size=(9, 9),
)
assert coco_average_precisions([image] * 40, 10)["AP"] > 0
print(len(os.listdir("/proc/self/task")) - before)
print(threads_in_words())
"""
    found = subprocess.run(
        [sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    added, words = found.stdout.splitlines()[-2:]
    assert int(added) == threads
    assert f"RAYON_NUM_THREADS={threads}" in words
