"""A training ends with the weights of its best validation; resumed or not, in the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from engine.best_weights import KeepBest

# Made up, of the validations after every second step: the best is the fourth, the third as good.
SCORES = (10.0, 20.0, 30.0, 30.0, 5.0)


class Told(Hook):
    """Makes scores up and keeps the weights that each validation saw; stops where it is told."""

    priority = "HIGHEST"

    def __init__(self, interrupt: int | None) -> None:
        self.interrupt = interrupt
        self.seen: dict[int, dict[str, torch.Tensor]] = {}

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None
        metrics["score"] = SCORES[runner.iter // 2 - 1]
        state = runner.model.state_dict()
        self.seen[runner.iter] = {name: tensor.clone() for name, tensor in state.items()}

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if batch_idx + 1 == self.interrupt:
            raise KeyboardInterrupt


@pytest.fixture
def run(
    make_runner: Callable[..., Any], toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> Callable[..., Any]:
    def start(name: str, interrupt: int | None = None, **options: Any) -> tuple[Any, Told]:
        told = Told(interrupt)
        runner = make_runner(
            tmp_path / name, toy(), steps=10, val_interval=2, checkpoint_interval=2,
            hooks=[KeepBest(metric="score", label="a toy"), told], **validation, **options,
        )  # fmt: skip
        if interrupt is None:
            runner.train()
        else:
            with pytest.raises(KeyboardInterrupt):
                runner.train()
        return runner, told

    return start


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}], ids=["plain", "averaged"])
def test_it_goes_back_to_the_last_of_the_best_and_says_so(
    options: dict[str, Any], run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    runner, told = run("a", **options)
    assert "a toy: back to the weights of step 8, which validated best: score 30.0" in (
        capsys.readouterr().err
    )
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, told.seen[8][name])
    assert any(not torch.equal(t, told.seen[10][n]) for n, t in runner.model.state_dict().items())


@pytest.mark.parametrize(
    "interrupt",
    [pytest.param(5, marks=pytest.mark.slow), 7, pytest.param(8, marks=pytest.mark.slow)],
)
def test_a_resumed_run_goes_back_to_the_same_weights(
    run: Callable[..., Any], interrupt: int
) -> None:
    whole, _ = run("whole", ema_decay=0.9)
    run("parts", interrupt, ema_decay=0.9)
    parts, _ = run("parts", ema_decay=0.9)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, parts.model.state_dict()[name])
    assert whole.train_loop.metrics == parts.train_loop.metrics
