"""A signal ends a training soon, after its step, with a checkpoint and without a trace."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from engine import interruption
from engine.checkpoint_file import read_checkpoint
from engine.checkpoints import latest_checkpoint
from engine.interruption import DRIVER_PIPE
from engine.runner import QuietRunner
from engine.stage import run_stage

MakeRunner = Callable[..., QuietRunner]
STEPS = 40


class Pause(Hook):
    """Says on a file that a step is at work, and takes its time over it."""

    def __init__(self, sign: Path, *, at: int = 1, seconds: float = 0.05) -> None:
        self.sign, self.at, self.seconds = sign, at, seconds

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx >= self.at:
            self.sign.touch()
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:  # as a step, which a signal does not cut short
                time.sleep(0.005)


class SlowMetric(BaseMetric):
    default_prefix = ""

    def __init__(self, sign: Path) -> None:
        super().__init__()
        self.sign = sign

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.sign.touch()
        time.sleep(60)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {"score": 0.0}


@pytest.fixture(autouse=True)
def _no_shared_memory_stays(leaked_memory: Callable[[], set[str]]) -> Iterator[None]:
    yield
    assert leaked_memory() == set()


class Stage:
    """A stage in a forked process and a session of its own."""

    def __init__(self, main: Callable[[], object], sign: Path) -> None:
        def run() -> None:
            os.setsid()
            torch.set_num_threads(1)  # a forked process has none of its parent's threads
            sys.exit(run_stage(lambda argv: main() and None))

        self.process = multiprocessing.get_context("fork").Process(target=run)
        self.process.start()
        deadline = time.monotonic() + 30
        while not sign.exists():
            assert time.monotonic() < deadline
            assert self.process.is_alive()
            time.sleep(0.005)

    @property
    def session(self) -> list[str]:
        """What runs in its session, zombies left out."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(folder.name)
        return found

    def signal(self, number: int, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> tuple[int, float]:
        """(exit code, seconds until then); nothing of it is left."""
        started = time.monotonic()
        self.process.join(20)
        seconds = time.monotonic() - started
        assert self.process.exitcode is not None
        while self.session and time.monotonic() < started + seconds + 2:
            time.sleep(0.05)
        assert self.session == [], "orphans"
        return self.process.exitcode, seconds


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    return tmp_path / "sign"


def saved_step(work_dir: Path) -> int:
    path = latest_checkpoint(work_dir)
    return 0 if path is None else read_checkpoint(path)["meta"]["iter"]


@pytest.mark.reliability(
    10, "SIGTERM, SIGHUP and Ctrl-C finish the step, save it and end the stage with its workers."
)
@pytest.mark.parametrize(
    ("number", "code", "group", "options"),
    [
        pytest.param(signal.SIGTERM, 143, False, {}, id="SIGTERM"),
        pytest.param(signal.SIGHUP, 129, False, {}, id="SIGHUP"),
        pytest.param(signal.SIGINT, 130, True, {"workers": 2}, id="Ctrl-C to a group"),
        pytest.param(signal.SIGTERM, 143, True, {"workers": 2, "accumulate": 4}, id="accumulated"),
        pytest.param(signal.SIGTERM, 143, True, {"ema_decay": 0.9}, id="averaged"),
    ],
)
def test_a_signal_saves_the_step_in_hand(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, sign: Path,
    capfd: pytest.CaptureFixture[str], measured: Callable[[str], None],
    number: int, code: int, group: bool, options: dict[str, Any],
) -> None:  # fmt: skip
    work_dir = tmp_path / "work"
    options = {"steps": STEPS, "checkpoint_interval": STEPS, **options}
    accumulate = options.get("accumulate", 1)

    def train() -> None:
        hooks = [Pause(sign, at=6)]
        make_runner(work_dir, toy(dropout=0.3, noise=0.1), hooks=hooks, **options).train()

    stage = Stage(train, sign)
    stage.signal(number, group=group)
    exit_code, seconds = stage.end()
    assert exit_code == code
    assert seconds < 10
    step = saved_step(work_dir)
    assert 7 <= step < STEPS
    assert step % accumulate == 0
    told = capfd.readouterr().err
    assert f"goes on from step {step}" in told
    assert "SIG" not in told  # that its driver sends, whatever the user did

    resumed, whole = (
        make_runner(tmp_path / name, toy(dropout=0.3, noise=0.1), **options)
        for name in ("work", "never stopped")
    )
    for runner in (whole, resumed):
        runner.train()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
    measured(f"{signal.Signals(number).name}: {seconds:.1f} s")


@pytest.mark.reliability(10, "A signal does not wait for the end of a validation.")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_in_a_validation(
    make_runner: MakeRunner, toy: Any, points: Any, tmp_path: Path, sign: Path,
    capfd: pytest.CaptureFixture[str], measured: Callable[[str], None], number: signal.Signals,
) -> None:  # fmt: skip
    def train() -> None:
        make_runner(
            tmp_path / "work", toy(), steps=6, val_interval=3, val_metric=SlowMetric(sign),
            val_loader=DataLoader(points.dataset, batch_size=8, num_workers=2),
        ).train()  # fmt: skip

    stage = Stage(train, sign)
    stage.signal(number, group=True)
    exit_code, seconds = stage.end()
    assert exit_code == 128 + number, capfd.readouterr().err
    assert seconds < 5
    assert saved_step(tmp_path / "work") == 3
    measured(f"{number.name}: {seconds:.1f} s")


def test_a_signal_while_it_is_set_up(sign: Path) -> None:
    def set_up() -> None:
        sign.touch()
        time.sleep(60)

    stage = Stage(set_up, sign)
    stage.signal(signal.SIGINT)
    assert stage.end() == (130, pytest.approx(0, abs=3))


def test_a_worker_that_hangs_is_not_waited_for(
    make_runner: MakeRunner, toy: Any, points: Any, tmp_path: Path, sign: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dataset = type(points.dataset)
    give = dataset.__getitem__

    def hang(self: Any, key: Any) -> Any:
        if key.epoch == 4:
            sign.touch()
            while True:
                time.sleep(1)
        return give(self, key)

    monkeypatch.setattr(dataset, "__getitem__", hang)

    def train() -> None:
        make_runner(tmp_path / "work", toy(), steps=STEPS, workers=2).train()

    stage = Stage(train, sign)
    time.sleep(0.5)
    stage.signal(signal.SIGTERM, group=True)
    exit_code, seconds = stage.end()
    assert exit_code == 143
    assert seconds < 5
    assert saved_step(tmp_path / "work") > 0


@pytest.mark.reliability(10, "A second signal ends a stage at once.")
def test_a_second_signal(make_runner: MakeRunner, toy: Any, tmp_path: Path, sign: Path) -> None:
    def train() -> None:
        hooks = [Pause(sign, at=2, seconds=30)]
        make_runner(tmp_path / "work", toy(), steps=STEPS, workers=2, hooks=hooks).train()

    stage = Stage(train, sign)
    stage.signal(signal.SIGTERM)
    time.sleep(1.2)  # sooner, it would count as the same
    assert stage.process.is_alive(), "its step is not done"
    stage.signal(signal.SIGTERM)
    assert stage.end() == (143, pytest.approx(0, abs=2))


@pytest.mark.reliability(
    10, "A signal that comes twice at once, as to a whole control group, counts as one."
)
def test_one_signal_by_two_ways(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, sign: Path, measured: Callable[[str], None]
) -> None:
    def train() -> None:
        make_runner(tmp_path / "work", toy(), steps=STEPS, hooks=[Pause(sign, at=6)]).train()

    stage = Stage(train, sign)
    stage.signal(signal.SIGTERM)
    time.sleep(0.05)
    stage.signal(signal.SIGTERM)
    exit_code, _ = stage.end()
    assert exit_code == 143
    step = saved_step(tmp_path / "work")
    assert step >= 7
    measured(f"step {step} saved")


@pytest.mark.reliability(10, "A step that takes too long is given up: the stage ends within 10 s.")
def test_a_step_without_end(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, sign: Path,
    monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None],
) -> None:  # fmt: skip
    assert interruption.STEP_SECONDS < 8
    monkeypatch.setattr(interruption, "STEP_SECONDS", 1.0)

    def train() -> None:
        hooks = [Pause(sign, at=6, seconds=30)]
        make_runner(
            tmp_path / "work", toy(), steps=STEPS, checkpoint_interval=4, hooks=hooks
        ).train()

    stage = Stage(train, sign)
    stage.signal(signal.SIGTERM)
    exit_code, seconds = stage.end()
    assert exit_code == 143
    assert 0.9 < seconds < 3
    assert saved_step(tmp_path / "work") == 4, "the step in hand is not whole"
    measured(f"{seconds:.1f} s with a limit of 1 s")


@pytest.mark.reliability(10, "A stage ends, as by SIGTERM, when the program that started it dies.")
def test_it_ends_with_its_driver(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, sign: Path,
    monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None],
) -> None:  # fmt: skip
    reading, writing = os.pipe()
    monkeypatch.setenv(DRIVER_PIPE, str(reading))

    def train() -> None:
        os.close(writing)  # a driver does not hand this end on
        assert DRIVER_PIPE not in os.environ, "not for programs that the stage starts"
        make_runner(tmp_path / "work", toy(), steps=STEPS, hooks=[Pause(sign)]).train()

    stage = Stage(train, sign)
    os.close(writing)
    exit_code, seconds = stage.end()
    os.close(reading)
    assert exit_code == 143
    assert seconds < 10
    assert saved_step(tmp_path / "work") > 0
    measured(f"{seconds:.1f} s")


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    assert run_stage(lambda argv: None) == 0
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    assert after == before
