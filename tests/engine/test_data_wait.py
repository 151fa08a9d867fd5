"""A training that waits for its data says how long, and how many workers would end it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine import data_wait
from engine.data_wait import DataWait
from engine.runner import QuietRunner

MakeRunner = Callable[..., QuietRunner]


class Clock:
    """Seconds that pass only where the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(data_wait.time, "perf_counter", lambda: self.now)

    def batches(self, loading: float) -> Iterator[int]:
        while True:
            self.now += loading
            yield 0


def run(
    monkeypatch: pytest.MonkeyPatch, *, waits: float, computes: float, workers: int, cores: float
) -> DataWait:
    """30 steps, each of which waits and computes for so many seconds; the first ones wait long."""
    clock = Clock(monkeypatch)
    measured = DataWait(workers=workers, cores=cores)
    stream, slow = clock.batches(waits), clock.batches(50.0)
    for step in range(30):
        measured.next_of(slow if step < data_wait.FIRST_STEPS else stream)
        clock.now += computes
        measured.step_ends()
    return measured


def test_the_share_is_that_of_the_steps_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = run(monkeypatch, waits=3.0, computes=5.0, workers=0, cores=8)
    assert measured.share == pytest.approx(3 / 8)


@pytest.mark.parametrize(
    ("waits", "computes", "workers", "wanted"),
    [
        (3.0, 5.0, 0, 1),  # one worker loads a batch in 3 s of the 5
        (10.0, 5.0, 0, 2),
        (11.0, 5.0, 0, 3),
        # 2 workers deliver a batch each 10 s: each takes 20 s, so that 4 deliver one each 5 s.
        (5.0, 5.0, 2, 4),
        (1.0, 5.0, 2, 3),
    ],
)
def test_so_many_workers_load_as_fast_as_is_computed(
    waits: float, computes: float, workers: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = run(monkeypatch, waits=waits, computes=computes, workers=workers, cores=16)
    assert measured.wanted_workers == wanted
    percent = round(100 * waits / (waits + computes))
    assert measured.note("workers in [x]") == (
        f"waited for data {percent}% of the time; workers in [x] = {wanted} would cure it "
        f"(now {workers})"
    )


def test_no_more_workers_are_named_than_there_are_cores_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = run(monkeypatch, waits=25.0, computes=5.0, workers=0, cores=4).note("workers")
    assert few is not None
    assert "workers = 5 would cure it (now 0), for which there are too few cores (4): 3" in few
    none = run(monkeypatch, waits=25.0, computes=5.0, workers=0, cores=1).note("workers")
    assert none is not None
    assert "on more cores than the 1 that this job may use" in none


@pytest.mark.parametrize(
    ("waits", "computes", "cores"),
    [
        (0.5, 5.0, 8),  # 9%
        (1.0, 5.0, 1),  # 17%, and no core for a worker
        (0.01, 0.01, 8),  # a quarter of a second in all
    ],
)
def test_what_is_small_or_cannot_be_cured_is_not_said(
    waits: float, computes: float, cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = run(monkeypatch, waits=waits, computes=computes, workers=0, cores=cores)
    assert measured.note("workers") is None


class FakeGPU:
    """Does one thing after the other, each `seconds` long, while the clock goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        self.clock, self.free, self.events = clock, 0.0, 0
        gpu = self

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing
                gpu.events += 1

            def record(self) -> None:
                self.at = max(gpu.free, clock.now)

            def query(self) -> bool:
                return clock.now >= self.at

            def elapsed_time(self, end: Event) -> float:
                assert end.query(), "torch raises an error here"
                return 1000 * (end.at - self.at)

        monkeypatch.setattr(data_wait.torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(data_wait.torch.cuda, "Event", Event)

    def compute(self, seconds: float) -> None:
        self.free = max(self.free, self.clock.now) + seconds


def run_on_gpu(
    monkeypatch: pytest.MonkeyPatch, *, loading: float, steps: int = 500, pause: float = 0.0
) -> tuple[DataWait, float]:
    """2 workers have a batch ready every `loading` seconds; a step is handed over in 0.02 s and
    takes the GPU 0.1 s. pause: after every tenth step, once the GPU is done, for something else.
    Gives what was measured, and the share of the time in which the GPU waited for a batch."""
    clock = Clock(monkeypatch)
    gpu = FakeGPU(monkeypatch, clock)

    def batches() -> Iterator[int]:
        for step in range(steps):
            clock.now = max(clock.now, (step + 1) * loading)
            yield step

    measured, stream = DataWait(workers=2, cores=16), batches()
    idle = paused = 0.0
    for step in range(steps):
        asked = clock.now
        measured.next_of(stream)
        idle += max(0.0, clock.now - max(gpu.free, asked))
        gpu.compute(0.1)
        clock.now += 0.02
        measured.step_ends()
        if pause and step % 10 == 9:
            clock.now = max(clock.now, gpu.free) + pause
            paused += pause
    return measured, idle / (clock.now - paused)


@pytest.mark.parametrize(
    ("loading", "share", "wanted"),
    [
        (0.105, 0.05, 3),  # each worker takes 0.21 s for a batch: 3 give one each 0.07 s
        (0.110, 0.09, 3),
        (0.199, 0.50, 4),
        (0.050, 0.00, 2),  # the GPU never waits, though its queue is filled from time to time
    ],
)
def test_on_a_gpu_its_own_clock_counts(
    loading: float, share: float, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, true = run_on_gpu(monkeypatch, loading=loading)
    assert true == pytest.approx(share, abs=0.01)  # the simulation is what it says
    assert measured.share == pytest.approx(share, abs=0.01)
    assert measured.wanted_workers == wanted
    assert measured.end_of_epoch() == pytest.approx(share, abs=0.01)


def test_what_else_keeps_a_gpu_waiting_is_no_wait_for_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A validation, a checkpoint: meanwhile the batches become ready."""
    measured, true = run_on_gpu(monkeypatch, loading=0.05, pause=5.0)
    assert true < 0.01  # of the first batch
    assert measured.share == pytest.approx(0, abs=1e-9)


class SlowData(Hook):
    """Makes each batch of a runner take so many seconds to load."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def before_train(self, runner: Any) -> None:
        data = runner.train_loop.dataloader.dataset
        load = type(data).__getitem__

        class Slow(type(data)):
            def __getitem__(self, key: Any, *, seconds: float = self.seconds) -> Any:
                time.sleep(seconds)
                return load(self, key)

        data.__class__ = Slow


def test_a_slow_loader_is_named_in_result_log_and_events(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRICKLE_CORES", "2")
    monkeypatch.setattr("engine.threads.usable_cores", lambda: 2.0)
    # 24 points: an epoch of 3 steps of 8, of 0.16 s each and hardly anything to compute.
    runner = make_runner(
        tmp_path, toy(), steps=15, hooks=[SlowData(0.02)], workers_setting="workers in [toy]"
    )
    runner.train()
    assert 0.7 < runner.step_cost["data_wait_share"] <= 1
    (note,) = runner.notes
    assert note.startswith("waited for data")
    assert "workers in [toy] = " in note
    assert note in capfd.readouterr().err
    (log,) = tmp_path.glob("*/*.log")
    said = log.read_text()
    assert note in said
    assert "OMP_NUM_THREADS=" in said
    assert [f"epoch {n}: waited for data" in said for n in range(1, 7)] == [True] * 5 + [False]
    events = EventAccumulator(str(next(tmp_path.glob("*/vis_data"))))
    events.Reload()
    shares = events.Scalars("train/data_wait_share")
    assert [share.step for share in shares] == [3, 6, 9, 12, 15]
    assert all(0.5 < share.value <= 1 for share in shares)


def test_loading_that_costs_nothing_is_not_mentioned(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path, toy(), steps=12)
    runner.train()
    assert runner.notes == ()
    assert 0 <= runner.step_cost["data_wait_share"] <= 1
