"""A training that no longer gets better ends; resumed or not, at the same step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from engine.divergence import Diverged
from engine.early_stopping import StopEarly

# The scores of the validations, every second step. Best at the third; patience 2 ends at the fifth.
SCORES = [10.0, 20.0, 30.0, 30.0, 25.0, 90.0, 90.0]


class Scripted(BaseMetric):
    """Gives the score of the step at which it is asked. Of a tie the first counts as best."""

    default_prefix = ""
    runner: Any = None

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        return {"score": SCORES[self.runner.iter // 2 - 1]}


class Wire(Hook):
    """Tells the metric whose steps it counts; stops the process where it is told to."""

    priority = "LOWEST"

    def __init__(self, metric: Scripted, interrupt: int | None = None) -> None:
        self.metric, self.interrupt = metric, interrupt

    def before_train(self, runner: Any) -> None:
        self.metric.runner = runner

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if batch_idx + 1 == self.interrupt:
            raise KeyboardInterrupt


@pytest.fixture
def run(
    make_runner: Callable[..., Any], toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> Callable[..., Any]:
    def start(name: str, interrupt: int | None = None, patience: int = 2) -> Any:
        metric = Scripted()
        stop = StopEarly(patience=patience, metric="score")
        options = {**validation, "val_metric": metric, "val_interval": 2, "steps": 14}
        runner = make_runner(
            tmp_path / name, toy(), checkpoint_interval=2, hooks=[Wire(metric, interrupt), stop],
            **options,
        )  # fmt: skip
        runner.train()
        return runner

    return start


def test_it_ends_after_its_patience(run: Callable[..., Any]) -> None:
    runner = run("a")
    assert runner.iter == 10
    assert runner.train_loop.metrics["score"] == 25.0


def test_a_loss_that_was_lost_is_noticed_before_its_validation(
    make_runner: Callable[..., Any], toy: Any, tmp_path: Path, validation: dict[str, Any]
) -> None:
    class Poison(Hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            runner.model.poison = float("nan") if batch_idx == 1 else 1.0

    runner = make_runner(
        tmp_path, toy(), steps=8, val_interval=2, checkpoint_interval=8, hooks=[Poison()],
        **validation,
    )  # fmt: skip
    with pytest.raises(Diverged, match="step 2 of 8"):
        runner.train()


def test_patience_that_is_never_used_up_changes_nothing(run: Callable[..., Any]) -> None:
    assert run("a", patience=3).iter == 14


@pytest.mark.parametrize("interrupt", [7, 8, 9])
def test_a_resumed_run_ends_at_the_same_step(run: Callable[..., Any], interrupt: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run("a", interrupt=interrupt)
    assert run("a").iter == 10
