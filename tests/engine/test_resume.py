"""A run that was stopped and goes on ends in the same bits as one that never stopped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from engine.averaging import AveragedWeights
from engine.checkpoints import latest_checkpoint
from engine.runner import QuietRunner

MakeRunner = Callable[..., QuietRunner]
SCHEDULE = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=6),
    dict(type="PolyLR", eta_min=1e-3, power=0.9, begin=6, end=20, by_epoch=False),
]


class Interrupt(Hook):
    """Ctrl-C after a number of steps, once all other hooks are through."""

    priority = "LOWEST"

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if batch_idx + 1 == self.steps:
            raise KeyboardInterrupt


def state_of(runner: QuietRunner) -> dict[str, Any]:
    (average,) = [h for h in runner.hooks if isinstance(h, AveragedWeights)] or [None]
    return {
        "weights": dict(runner.model.state_dict()),
        "average": {} if average is None else dict(average.ema_model.state_dict()),
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedule": [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
    }


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


@pytest.mark.filterwarnings("ignore:Detected call of .scheduler.step")  # in an accumulated step
@pytest.mark.parametrize(
    ("stop", "options"),
    [
        pytest.param(10, {}, id="plain"),
        pytest.param(7, {"workers": 2}, id="with workers"),
        pytest.param(10, {"ema_decay": 0.9}, id="averaged"),
        pytest.param(10, {"precision": "bfloat16"}, id="half precision"),
        pytest.param(10, {"precision": "float16"}, id="loss scale"),
        pytest.param(11, {"accumulate": 2}, id="accumulated"),
        pytest.param(11, {"accumulate": 2, "ema_decay": 0.9}, id="accumulated and averaged"),
    ],
)
def test_the_same_bits(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    stop: int,
    options: dict[str, Any],
) -> None:
    options = {"steps": 20, "checkpoint_interval": 3, "param_scheduler": SCHEDULE, **options}
    never_stopped = make_runner(tmp_path / "a", toy(dropout=0.3, noise=0.1), **options)
    never_stopped.train()

    runner = make_runner(
        tmp_path / "b", toy(dropout=0.3, noise=0.1), hooks=[Interrupt(stop)], **options
    )
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    checkpoint = latest_checkpoint(tmp_path / "b")
    assert checkpoint is not None
    assert 0 < int(checkpoint.stem.removeprefix("iter_")) < stop

    torch.manual_seed(99)  # whatever state the new process starts in
    resumed = make_runner(tmp_path / "b", toy(dropout=0.3, noise=0.1), **options)
    capfd.readouterr()
    resumed.train()
    out, err = capfd.readouterr()
    assert out == ""
    assert all(line.startswith("  toy: ") for line in err.splitlines())
    assert_equal(state_of(resumed), state_of(never_stopped))
    assert len(list((tmp_path / "b").glob("iter_*"))) <= 2


def test_workers_change_nothing(make_runner: MakeRunner, toy: Any, tmp_path: Path) -> None:
    states, others = [], set(multiprocessing.active_children())  # of earlier tests
    for workers in (0, 2):
        runner = make_runner(tmp_path / str(workers), toy(dropout=0.3), steps=7, workers=workers)
        runner.train()
        states.append(state_of(runner))
        assert set(multiprocessing.active_children()) <= others, "they end with the training"
    assert_equal(*states)


def test_a_finished_run_is_only_validated(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> None:
    options = {"steps": 6, "checkpoint_interval": 3, **validation}
    first = make_runner(tmp_path, toy(), **options)
    first.train()
    again = make_runner(tmp_path, toy(), hooks=[Interrupt(1)], **options)
    again.train()
    assert again.train_loop.metrics == first.train_loop.metrics
