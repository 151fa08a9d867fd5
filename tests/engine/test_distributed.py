"""What processes that train together agree on after each step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from engine import distributed
from engine.checkpoints import _require_same_shares
from engine.processes import is_main, lost_another, of_the_first, rank, share_of, world_size

TogetherWith = Callable[[Tensor], None]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> TogetherWith:
    """two(tensor): this process is one of two, and what both add up is `tensor` in the other."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    def meet(theirs: Tensor) -> None:
        monkeypatch.setattr(
            distributed.distributed, "all_reduce", lambda ours: ours.add_(theirs.to(ours.dtype))
        )

    return meet


def test_a_process_started_alone_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), world_size(), is_main(), share_of(7)) == (0, 1, True, 7)


def test_a_batch_is_shared_equally_or_not_at_all(two: TogetherWith) -> None:
    assert (rank(), world_size(), is_main()) == (1, 2, False)
    assert share_of(8) == 4
    with pytest.raises(ValueError, match="a batch of 7 images cannot be shared equally by 2"):
        share_of(7)


def test_losses_become_their_mean(two: TogetherWith) -> None:
    two(torch.tensor([3.0, float("nan")]))
    outputs = {"loss": torch.tensor(1.0), "loss_boxes": torch.tensor(2.0), "lr": 0.1}
    distributed.average_losses(outputs)
    assert outputs["loss"].item() == 2.0
    assert outputs["loss_boxes"].isnan(), "a loss that one of them has lost is lost for all"
    assert outputs["lr"] == 0.1


def test_statistics_that_are_learned_become_their_mean_and_others_keep_their_bits(
    two: TogetherWith,
) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(3))
    learned, frozen = model
    frozen.eval()
    frozen.running_mean.fill_(0.1)
    learned.running_mean.copy_(torch.tensor([1.0, 5.0]))
    learned.running_var.copy_(torch.tensor([2.0, 2.0]))
    two(torch.tensor([3.0, 7.0, 4.0, 2.0]))  # the other's two means and two variances
    distributed.average_running_statistics(model)
    assert learned.running_mean.tolist() == [2.0, 6.0]
    assert learned.running_var.tolist() == [3.0, 2.0]
    assert torch.equal(frozen.running_mean, torch.full((3,), 0.1))
    distributed.average_running_statistics(nn.Linear(2, 2))  # nothing to agree on


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_one_that_is_asked_to_end_ends_all(two: TogetherWith, ours: int, theirs: int) -> None:
    two(torch.tensor([float(theirs)]))
    assert distributed.anyone(bool(ours)) == bool(ours or theirs)


def test_processes_go_on_from_one_step_or_not_at_all(
    two: TogetherWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(into: list[Tensor], mine: Tensor) -> None:
        for tensor, step in zip(into, (14, int(mine)), strict=True):
            tensor.fill_(step)

    monkeypatch.setattr(distributed.distributed, "all_gather", gather)
    distributed.require_same_step(14)
    with pytest.raises(ValueError, match="from the steps 14, 0: the work directory must be one"):
        distributed.require_same_step(0)


def test_the_first_process_chooses_for_all(
    two: TogetherWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def broadcast(objects: list[object]) -> None:
        if is_main():
            sent.extend(objects)
        else:
            objects[:] = sent

    monkeypatch.setattr(distributed.distributed, "broadcast_object_list", broadcast)
    monkeypatch.setenv("RANK", "0")
    assert of_the_first(lambda: "bfloat16") == "bfloat16"
    monkeypatch.setenv("RANK", "1")
    assert of_the_first(lambda: pytest.fail("not asked")) == "bfloat16"


@pytest.mark.parametrize(
    ("saved", "batch_norm", "layer", "refused"),
    [
        ({"processes": 4}, "per_process", nn.BatchNorm2d(2), True),
        ({}, "per_process", nn.BatchNorm2d(2), True),  # of one process
        ({"processes": 2}, "per_process", nn.BatchNorm2d(2), False),
        ({"processes": 4}, "global", nn.BatchNorm2d(2), False),
        ({"processes": 4}, "per_process", nn.LayerNorm(2), False),
    ],
)
def test_shares_that_batch_norm_sees_stay_as_large(
    two: TogetherWith, saved: dict[str, int], batch_norm: str, layer: nn.Module, refused: bool
) -> None:
    runner = SimpleNamespace(model=nn.Sequential(layer), batch_norm=batch_norm)
    if not refused:
        _require_same_shares(runner, saved, Path("iter_4"))
        return
    number = saved.get("processes", 1)
    with pytest.raises(ValueError, match=f"iter_4 is of {number} processes .* has 2: batch norm"):
        _require_same_shares(runner, saved, Path("iter_4"))


def test_what_a_broken_connection_looks_like(
    two: TogetherWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    gloo = RuntimeError("[/w/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error")
    assert lost_another(gloo)
    assert not lost_another(RuntimeError("shapes do not match"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not lost_another(gloo)
