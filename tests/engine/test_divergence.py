"""A training that is lost ends soon; what is kept is from before. float16 overflow is counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import OPTIM_WRAPPERS

from engine.checkpoint_file import read_checkpoint
from engine.checkpoints import checkpoints
from engine.divergence import Diverged, StopOnDivergence
from engine.precision import optim_wrapper, overflowed_steps
from engine.runner import QuietRunner

MakeRunner = Callable[..., QuietRunner]


class Scale(Hook):
    """Multiplies the loss from a step on (the first is 0), or in this step alone."""

    priority = "HIGHEST"

    def __init__(self, step: int, factor: float) -> None:
        self.step, self.factor = step, factor

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        runner.model.poison = self.factor if batch_idx >= self.step else 1.0


class SpoilWeights(Hook):
    """Puts infinity into a weight after a step whose loss is fine."""

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if batch_idx + 1 == 6:
            with torch.no_grad():
                runner.model.body[0].weight[0, 0] = math.inf


def steps_kept(work_dir: Path) -> list[int]:
    return [int(path.stem.removeprefix("iter_")) for path in checkpoints(work_dir)]


@pytest.mark.reliability(
    7,
    "A loss that is NaN, infinite or explodes ends the run within one interval of 10 steps; the "
    "last good checkpoint stays and a run that goes on from it is lost in the same way.",
)
@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf, 1e8], ids=str)
@pytest.mark.parametrize("step", [13, 16])
def test_a_lost_loss(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, measured: Callable[[str], None],
    factor: float, step: int,
) -> None:  # fmt: skip
    messages = []
    for _ in range(2):
        runner = make_runner(
            tmp_path, toy(), steps=60, checkpoint_interval=8, hooks=[Scale(step, factor)]
        )
        with pytest.raises(Diverged) as error:
            runner.train()
        assert runner.iter - step < 10
        messages.append(str(error.value))
        good = step // 8 * 8
        assert steps_kept(tmp_path)[0] == good
        assert f"iter_{good}.safetensors" in messages[-1]
        state = read_checkpoint(checkpoints(tmp_path)[0])["state_dict"]
        assert all(tensor.abs().max() < 100 for tensor in state.values())
    assert messages[0] == messages[1]
    measured(f"noticed {runner.iter - step} steps later")


def test_weights_that_are_lost_are_not_saved(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path, toy(), steps=9, checkpoint_interval=3, hooks=[SpoilWeights()])
    with pytest.raises(Diverged, match=r"body\.0\.weight is not finite at step 6"):
        runner.train()
    assert steps_kept(tmp_path) == [3]


def test_running_statistics_that_are_lost_are_not_saved(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    """A float16 overflow in a forward pass: the scaler leaves out the step, and they stay."""
    model = toy()
    model.body.insert(1, torch.nn.BatchNorm1d(8))

    def overflow(norm: torch.nn.BatchNorm1d, inputs: Any) -> None:
        if runner.iter == 4:
            norm.running_var.fill_(math.nan)

    model.body[1].register_forward_pre_hook(overflow)
    runner = make_runner(tmp_path, model, steps=9, checkpoint_interval=3)
    with pytest.raises(Diverged, match=r"body\.1\.running_var is not finite at step 6"):
        runner.train()
    assert steps_kept(tmp_path) == [3]


def fed(losses: list[float]) -> int | None:
    """The step at which a series of losses is called lost."""

    class Runner:
        max_iters = len(losses)
        work_dir = "nowhere"

    hook = StopOnDivergence()
    for i, loss in enumerate(losses):
        try:
            hook.after_train_iter(Runner(), i, outputs={"loss": torch.tensor(loss)})
        except Diverged:
            return i + 1
    return None


@pytest.mark.parametrize(
    "losses",
    [
        [6.9 * 0.99**i for i in range(200)],
        [2800 * 0.9**i for i in range(200)],  # distillation at temperature 20
        [1e-3 * 0.9**i for i in range(100)] + [5.0] * 100,  # fine-tuned, then harder data
        [6.9] * 50 + [400.0] * 20 + [6.9] * 50,  # a bump at the end of the warmup
        [0.0] * 100 + [3000.0] * 20,
        [-5.0] * 100,
    ],
    ids=["falling", "distilled", "from nothing", "bump", "zero", "negative"],
)
def test_no_healthy_training_is_stopped(losses: list[float]) -> None:
    assert fed(losses) is None


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([6.9] * 20 + [7e4] * 20, 30),
        ([2 * 3.0**i for i in range(60)], 20),  # by a factor of 3 in each step
        ([1e-6] * 20 + [2e4] * 20, 30),
    ],
    ids=["jump", "growth", "from nothing"],
)
def test_an_explosion_is_stopped(losses: list[float], step: int) -> None:
    assert fed(losses) == step


def step_with_gradient(wrapper: Any, weight: torch.Tensor, gradient: float) -> None:
    wrapper.update_params((weight * gradient).sum())


@pytest.mark.reliability(
    7, "A float16 step whose gradient overflows is left out by the loss scaler, and counted."
)
@pytest.mark.parametrize("fused", [False, True])
def test_overflowed_steps_are_left_out_and_counted(
    measured: Callable[[str], None], fused: bool
) -> None:
    def make() -> tuple[Any, torch.nn.Parameter]:
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=0.5, fused=fused)
        configuration = optim_wrapper(optimizer, precision="float16")
        return OPTIM_WRAPPERS.build(configuration), weight

    wrapper, weight = make()
    gradients = [1.0, math.inf, 1.0, math.nan, math.inf]
    for gradient in gradients:
        step_with_gradient(wrapper, weight, gradient)
    assert weight.tolist() == [0.0, 0.0], "two steps of 0.5"
    assert overflowed_steps(wrapper) == 3
    assert wrapper.loss_scaler.get_scale() == 2.0 ** (16 - 3)
    resumed, other = make()
    resumed.load_state_dict(wrapper.state_dict())
    step_with_gradient(resumed, other, math.inf)
    assert overflowed_steps(resumed) == 4
    measured(f"{len(gradients)} steps, 3 overflowed: 2 taken, 3 counted")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_formats_count_nothing(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, precision: str
) -> None:
    runner = make_runner(tmp_path, toy(), steps=2, precision=precision)
    runner.train()
    assert "overflowed_steps" not in runner.step_cost
    assert runner.notes == ()


def test_a_run_in_float16_tells_its_overflows(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    # A gradient of some 10 x 1000 x the scale of 65536 is above float16's largest number, 65504.
    runner = make_runner(tmp_path, toy(), steps=6, precision="float16", hooks=[Scale(3, 1000.0)])
    runner.train()
    count = runner.step_cost["overflowed_steps"]
    assert 3 <= count <= 6
    assert runner.notes == (
        f"{count} optimizer steps were left out because float16 gradients overflowed",
    )
