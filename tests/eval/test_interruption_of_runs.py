"""Runs that are interrupted, killed included: soon over, and nothing of them stays behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from engine.locks import Lock

Measured = Callable[[str], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LIMIT_SECONDS = 10.0


class Stages(Protocol):
    folder: Path

    def start(self, *arguments: str, **options: str) -> Any: ...


def marked(mark: str) -> list[int]:
    """The processes that were started under FAKE_MARK=mark, or by one that was."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if f"FAKE_MARK={mark}".encode() in environment.split(b"\0") and state != "Z":
            found.append(int(folder.name))
    return found


def shared_memory_of(processes: Sequence[str]) -> list[str]:
    names = os.listdir("/dev/shm")
    return [name for name in names if any(f"_{pid}_" in name for pid in processes)]


def interrupt_once(stages: Stages, number: int, program: str) -> tuple[float, list[str]]:
    """One run that gets a signal at a random time; how long all of it took to be gone, and the
    numbers of its stage's processes."""
    chance = random.Random(number)
    kind = SIGNALS[number % len(SIGNALS)]
    mark = f"{stages.folder.name}-{number}"
    out = stages.folder / f"out-{number}"
    calls = stages.folder / f"stage-{number}" / "calls.txt"
    calls.parent.mkdir()
    ask = ("--backbone", "resnet50d_mixup", "--tasks", "detection", "--out", str(out))
    options = {
        "FAKE_CALLS": str(calls),
        "FAKE_MARK": mark,
        "FAKE_PRETRAINING": program,
        "FAKE_HANG": "pretraining",
    }
    working = calls.with_suffix(".pid")
    process: subprocess.Popen[str] = stages.start(*ask, **options)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Benchmark")  # from here on it hears signals
    if number % 4:  # in its steps, else anywhere
        deadline = time.monotonic() + 60
        while not working.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
    else:
        time.sleep(chance.uniform(0, 4))
    process.send_signal(kind)
    asked = time.monotonic()
    _, err = process.communicate(timeout=60)
    locks = [Lock(path) for path in (out / "locks").glob("*.lock")]  # of killed ones
    while marked(mark) or not all(lock.acquire() for lock in locks):
        assert time.monotonic() - asked < 60, (marked(mark), locks)
        time.sleep(0.02)
    took = time.monotonic() - asked
    expected = -kind if kind == signal.SIGKILL else 128 + kind
    assert process.returncode == expected, err
    for lock in locks:
        lock.release()
    if kind != signal.SIGKILL:
        assert locks == []
        assert "the same command goes on from there" in err
    return took, working.read_text().split() if working.exists() else []


def interrupt(stages: Stages, numbers: Sequence[int], program: str) -> str:
    runs = len(numbers)
    with ThreadPoolExecutor(max_workers=3) as pool:
        ends = list(pool.map(lambda number: interrupt_once(stages, number, program), numbers))
    slowest = max(took for took, _ in ends)
    assert slowest < LIMIT_SECONDS
    processes = [pid for _, pids in ends for pid in pids]
    assert len(processes) >= runs / 2  # of those in their steps
    assert shared_memory_of(processes) == []
    return f"{runs} runs, all gone within {slowest:.1f} s, 0 orphans, 0 files in /dev/shm"


@pytest.mark.reliability(
    10,
    "A run that gets Ctrl-C, SIGTERM or SIGKILL ends within 10 s with the right exit code; no "
    "process, shared memory or lock of it stays.",
)
def test_three_interrupted_runs(stages: Stages, measured: Measured) -> None:
    measured(interrupt(stages, (1, 2, 3), "fake_stage"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.reliability(
    10,
    "Of 50 runs with worker processes and shared memory that get Ctrl-C, SIGTERM or SIGKILL at "
    "random times every one ends within 10 s with the right exit code; nothing of them stays.",
)
def test_fifty_interrupted_runs(stages: Stages, measured: Measured) -> None:
    measured(interrupt(stages, range(50), "torch_stage"))
