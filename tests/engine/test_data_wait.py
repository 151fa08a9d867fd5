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
