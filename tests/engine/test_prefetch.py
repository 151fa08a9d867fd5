"""Batches that are moved one step ahead come in their order, whole and once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import runner as runner_module
from engine.prefetch import Prefetched
from engine.runner import QuietRunner


def test_order_and_one_ahead() -> None:
    loaded, moved = [], []

    def batches() -> Any:
        for index in range(4):
            loaded.append(index)
            yield {"x": torch.full((2,), index)}

    def move(batch: Any) -> Any:
        moved.append(int(batch["x"][0]))
        return {"x": batch["x"] * 10}

    stream = Prefetched(batches(), move)
    assert loaded == []
    found = []
    for batch in stream:
        found.append(batch["x"].tolist())
        assert moved == loaded == list(range(min(4, len(found) + 1)))
    assert found == [[0, 0], [10, 10], [20, 20], [30, 30]]
    assert list(stream) == []


def test_a_loader_that_fails_says_so() -> None:
    def batches() -> Any:
        yield {"x": torch.zeros(1)}
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        list(Prefetched(batches(), lambda batch: batch))


def test_a_training_ends_in_the_same_bits(
    make_runner: Callable[..., QuietRunner],
    toy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The way of a GPU, without one."""
    plain = toy(dropout=0.3)
    make_runner(tmp_path / "plain", plain).train()
    monkeypatch.setattr(
        runner_module.StepLoop,
        "_stream",
        lambda loop: Prefetched(
            iter(loop.dataloader), loop.runner.model.data_preprocessor.cast_data
        ),
    )
    ahead = toy(dropout=0.3)
    make_runner(tmp_path / "ahead", ahead, workers=1).train()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(ahead.state_dict()[name], tensor), name


@pytest.mark.gpu
def test_on_a_gpu_too(
    make_runner: Callable[..., QuietRunner],
    toy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = []
    for plain in ("", "prefetch"):
        monkeypatch.setenv("TRICKLE_REFERENCE", plain)
        model = toy(dropout=0.3)
        make_runner(tmp_path / (plain or "ahead"), model, workers=1).train()
        trained.append(model)
    for name, tensor in trained[0].state_dict().items():
        assert torch.equal(trained[1].state_dict()[name], tensor), name
