"""A run that was stopped and goes on ends in the same bits as one that never stopped."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import OPTIM_WRAPPERS

from engine.averaging import AveragedWeights
from engine.checkpoint_file import read_checkpoint
from engine.checkpoints import choices, latest_checkpoint
from engine.fast_paths import VARIABLE
from engine.precision import optim_wrapper
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


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False)])
def test_an_optimizer_computes_as_it_was_built_to(
    kind: Any, precision: str, before: bool, after: bool
) -> None:
    """Not as the one whose state it goes on with: a switch that was turned holds from there on."""

    def make(fused: bool) -> tuple[Any, torch.nn.Parameter]:
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = kind([{"params": [weight]}], lr=0.1, fused=fused)
        return OPTIM_WRAPPERS.build(optim_wrapper(optimizer, precision=precision)), weight

    saved, weight = make(before)
    saved.update_params((weight * weight).sum())
    state = copy.deepcopy(saved.state_dict())
    resumed, other = make(after)
    with torch.no_grad():
        other.copy_(weight)
    resumed.load_state_dict(state)
    (group,) = resumed.optimizer.param_groups
    assert group["fused"] is after
    assert state["param_groups"][0]["fused"] is before, "what was read is left as it is"
    for wrapper, moved in ((saved, weight), (resumed, other)):
        wrapper.update_params((moved * moved).sum())
    assert torch.allclose(other, weight, rtol=1e-6)
    assert not torch.equal(weight, torch.ones(2))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_state_of_another_format_can_be_gone_on_with(precision: str) -> None:
    weight = torch.nn.Parameter(torch.ones(2))

    def make(precision: str) -> Any:
        return OPTIM_WRAPPERS.build(
            optim_wrapper(torch.optim.SGD([weight], lr=0.1), precision=precision)
        )

    resumed = make(precision)
    resumed.load_state_dict(make("float32").state_dict())
    assert resumed.overflowed_steps == 0


def test_another_way_than_before_is_said(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = {"steps": 20, "checkpoint_interval": 3}
    for stop, switched_off in ((7, ""), (14, "unread_losses"), (None, "unread_losses")):
        monkeypatch.setenv(VARIABLE, switched_off)
        hooks = [] if stop is None else [Interrupt(stop)]
        runner = make_runner(tmp_path, toy(), hooks=hooks, **options)
        if stop is None:
            runner.train()
            break
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    remark = f"{VARIABLE} named nothing until step 6, and unread_losses after it"
    said = f"{remark}; the training went on from step 6"
    assert runner.notes[0] == said
    assert capfd.readouterr().err.count(said) == 1, "each change once"


def test_what_was_measured_is_kept_with_a_training(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    assert choices(tmp_path) == {}
    make_runner(tmp_path, toy(), steps=6, checkpoint_interval=3, choices={"a": "b"}).train()
    assert choices(tmp_path) == {"a": "b"}
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert read_checkpoint(newest)["meta"]["choices"] == {"a": "b"}
    newest.write_bytes(newest.read_bytes()[:-1])
    assert choices(tmp_path) == {"a": "b"}, "of the one before, which will be gone on from"
