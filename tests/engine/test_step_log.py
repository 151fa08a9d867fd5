"""What the log says of the steps is what mmengine's own hooks say; between lines none is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.runner import QuietRunner
from engine.step_log import StepLog

MakeRunner = Callable[..., QuietRunner]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of each line, by name."""
    events = EventAccumulator(str(next(folder.glob("*/vis_data"))))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_lines_are_those_of_mmengine(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    validation: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    found = {}
    for plain in ("", "unread_losses"):
        monkeypatch.setenv("TRICKLE_REFERENCE", plain)
        folder = tmp_path / (plain or "fast")
        # A line each 3 steps; mmengine gives the means of the last 10.
        make_runner(folder, toy(), steps=32, precision=precision, **validation).train()
        found[plain] = scalars(folder)
    fast, plain_ones = found[""], found["unread_losses"]
    assert set(fast) == set(plain_ones)
    for name in ("loss", "loss_points", "lr"):
        steps = [step for step, _ in fast[name]]
        assert steps == [step for step, _ in plain_ones[name]] == list(range(3, 33, 3)), name
    for name in ("loss", "loss_points", "lr"):
        means = [value for _, value in fast[name]]
        assert means == pytest.approx([value for _, value in plain_ones[name]], rel=1e-5), name


def test_a_line_gives_the_mean_of_the_last_ten_steps(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    seen: list[float] = []

    class Seen(StepLog):
        def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **more: Any) -> None:
            outputs = more.get("outputs", args[-1] if args else None)
            seen.append(float(outputs["loss"].detach()))
            super().after_train_iter(runner, batch_idx, *args, **more)

    runner = make_runner(tmp_path, toy(), steps=30)
    (log,) = [hook for hook in runner.hooks if isinstance(hook, StepLog)]
    log.__class__ = Seen
    runner.train()
    lines = scalars(tmp_path)["loss"]
    assert [step for step, _ in lines] == list(range(3, 31, 3))
    for step, value in lines:
        last = seen[max(0, step - 10) : step]
        assert value == pytest.approx(sum(last) / len(last), rel=1e-5)


def test_no_loss_is_read_between_two_lines(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU each reading would wait for all that is under way."""
    read: list[int] = []
    runner = make_runner(tmp_path, toy(), steps=200)
    for name in ("item", "__float__", "tolist"):
        original = getattr(torch.Tensor, name)

        def noted(self: torch.Tensor, *, original: Any = original) -> Any:
            if self.numel() == 1:
                read.append(getattr(runner._train_loop, "_iter", 0))
            return original(self)

        monkeypatch.setattr(torch.Tensor, name, noted)
    runner.train()
    # The divergence check reads the losses of the first ten and then each tenth; the log, the
    # progress and the checkpoints of 200 steps come each 20.
    assert {step for step in read if step > 10} <= {
        step for step in range(201) if step % 10 in (0, 9)
    }


def test_the_norm_of_clipped_gradients_is_logged(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, forget_mmengine: Callable[[], None]
) -> None:
    from engine.loaders import train_loader
    from engine.precision import optim_wrapper
    from engine.runner import build_runner

    runner = make_runner(tmp_path / "a", toy(), steps=10)
    dataset = runner._train_dataloader.dataset
    forget_mmengine()
    clipped = build_runner(
        label="toy",
        model=toy(),
        loader=train_loader(dataset, batch_size=8, seed=5),
        steps=10,
        optim_wrapper=optim_wrapper(dict(type="SGD", lr=0.01), clip_grad={"max_norm": 1e-3}),
        work_dir=tmp_path / "b",
        seed=5,
    )
    clipped.train()
    norms = [value for _, value in scalars(tmp_path / "b")["grad_norm"]]
    assert len(norms) == 10
    assert all(norm > 1e-3 for norm in norms)
