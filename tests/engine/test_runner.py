"""The runner of all stages: it trains, tells little, saves what is whole, stops when lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from mmengine.hooks import Hook
from mmengine.registry import OPTIM_WRAPPERS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.checkpoints import latest_checkpoint
from engine.divergence import Diverged
from engine.precision import optim_wrapper
from engine.runner import QuietRunner

MakeRunner = Callable[..., QuietRunner]


class Record(Hook):
    """Loss and weights after each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(outputs["loss"].item())
        state = runner.model.state_dict()
        self.weights.append({name: tensor.clone() for name, tensor in state.items()})


class Poison(Hook):
    """Makes the loss NaN from a step on (the first is 0)."""

    priority = "HIGHEST"

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        runner.model.poison = math.nan if batch_idx >= self.step else 1.0


def fall(losses: list[float]) -> float:
    """The last losses over the first."""
    return sum(losses[-5:]) / sum(losses[:5])


def saved(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob("iter_*"))


def saved_weights(path: Path) -> dict[str, torch.Tensor]:
    """As safetensors itself reads them."""
    prefix = "state_dict/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in safetensors.torch.load_file(path).items()
        if name.startswith(prefix)
    }


def test_it_trains_and_says_little(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = Record()
    runner = make_runner(tmp_path, toy(), steps=60, hooks=[record])
    runner.train()
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert 3 <= len(lines) <= 20
    assert all(line.startswith("  toy: step ") for line in lines)
    assert len(record.losses) == 60
    assert fall(record.losses) < 0.1

    (log,) = tmp_path.glob("*/*.log")
    assert "loss" in log.read_text()
    (events,) = tmp_path.rglob("events.out.tfevents*")
    board = EventAccumulator(str(events)).Reload()
    assert {"loss", "lr"} <= set(board.Tags()["scalars"])


def test_checkpoints_are_plain_few_and_leave_nothing_beside_them(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> None:
    assert latest_checkpoint(tmp_path) is None
    runner = make_runner(
        tmp_path, toy(), steps=20, checkpoint_interval=4, val_interval=6, **validation
    )
    runner.train()
    assert saved(tmp_path) == ["iter_18.safetensors", "iter_20.safetensors"]
    assert latest_checkpoint(tmp_path) == tmp_path / "iter_20.safetensors"
    assert not list(tmp_path.glob(".*"))
    checkpoint = saved_weights(tmp_path / "iter_20.safetensors")
    assert checkpoint.keys() == runner.model.state_dict().keys()
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(checkpoint[name], tensor)


def test_it_validates_after_the_last_step(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> None:
    runner = make_runner(tmp_path, toy(dropout=0.5), steps=7, val_interval=3, **validation)
    runner.train()
    (batch,) = validation["val_loader"]
    expected = runner.model.eval().body(batch["x"]).flatten().tolist()
    assert runner.train_loop.metrics["outputs"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("step", [4, 5, 11])
def test_a_lost_loss_ends_the_run_and_what_was_good_stays(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, step: int
) -> None:
    runner = make_runner(tmp_path, toy(), steps=40, checkpoint_interval=4, hooks=[Poison(step)])
    with pytest.raises(Diverged, match="nan at step"):
        runner.train()
    assert runner.iter < 20
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.name == f"iter_{step // 4 * 4}.safetensors"
    for path in tmp_path.glob("iter_*"):
        assert all(tensor.isfinite().all() for tensor in saved_weights(path).values()), path.name


def test_a_loss_lost_at_the_last_step_is_noticed(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    with pytest.raises(Diverged, match="step 7 of 7"):
        make_runner(tmp_path, toy(), steps=7, hooks=[Poison(6)]).train()


def test_accumulated_halves_equal_one_batch(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    whole = make_runner(tmp_path / "whole", toy(), steps=6, batch_size=8)
    halves = make_runner(tmp_path / "halves", toy(), steps=12, batch_size=4, accumulate=2)
    for runner in (whole, halves):
        runner.train()
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(halves.model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_the_average_of_the_weights_has_its_closed_form(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> None:
    decay, record = 0.8, Record()
    runner = make_runner(
        tmp_path, toy(), steps=9, ema_decay=decay, hooks=[record], checkpoint_interval=9,
        **validation,
    )  # fmt: skip
    runner.train()
    # It starts as the weights after the first step: e_n = d^(n-1) w_1 + (1-d) sum d^(n-t) w_t.
    n = len(record.weights)
    assert n == 9
    average = {
        name: decay ** (n - 1) * first
        + (1 - decay) * sum(decay ** (n - t) * record.weights[t - 1][name] for t in range(2, n + 1))
        for name, first in record.weights[0].items()
    }
    checkpoint = saved_weights(tmp_path / "iter_9.safetensors")
    for name, expected in average.items():
        torch.testing.assert_close(checkpoint[name], expected)
        torch.testing.assert_close(runner.model.state_dict()[name], expected)
        assert not torch.allclose(expected, record.weights[-1][name]), "the last weights"
    averaged = toy()
    averaged.load_state_dict(average)
    (batch,) = validation["val_loader"]
    expected = averaged.eval().body(batch["x"]).flatten().tolist()
    assert runner.train_loop.metrics["outputs"] == pytest.approx(expected, abs=1e-5)


def test_bfloat16_computes_in_half_and_keeps_whole_weights(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    model, record = toy(), Record()
    runner = make_runner(tmp_path, model, steps=60, precision="bfloat16", hooks=[record])
    runner.train()
    assert model.outputs.dtype is torch.bfloat16
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert fall(record.losses) < 0.1


def test_the_average_counts_steps_and_not_their_parts(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    whole = make_runner(tmp_path / "whole", toy(), steps=6, batch_size=8, ema_decay=0.7)
    halves = make_runner(
        tmp_path / "halves", toy(), steps=12, batch_size=4, accumulate=2, ema_decay=0.7
    )
    for runner in (whole, halves):
        runner.train()
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(halves.model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("loss_scale", "moves"), [(1.0, False), (2.0**14, True), ("dynamic", True)]
)
def test_loss_scaling_rescues_gradients_that_float16_cannot_hold(
    loss_scale: Any, moves: bool
) -> None:
    # The gradient of mean(w x c) with c = 1e-9 is below float16's smallest number, 2^-24 = 6e-8.
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float32))
    optimizer = torch.optim.SGD([weight], lr=1e9)
    wrapper = OPTIM_WRAPPERS.build(
        optim_wrapper(optimizer, precision="float16", loss_scale=loss_scale)
    )
    model = torch.nn.Module()
    with wrapper.optim_context(model):
        half = weight.half() * torch.ones(4, dtype=torch.float16)
        loss = (half.float() * 4e-9).mean()
    wrapper.update_params(loss)
    # By hand: w - lr dL/dw = 1 - 1e9 * 1e-9 = 0.
    assert weight.tolist() == pytest.approx([0.0 if moves else 1.0] * 4, abs=0.01)
    assert weight.dtype is torch.float32


def test_an_unknown_number_of_micro_batches_is_refused(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="accumulate"):
        make_runner(tmp_path, toy(), accumulate=0)
