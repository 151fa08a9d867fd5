"""Our fine-tuning steps are OpenMMLab's: the same losses, from the same weights and images; and
test images that share a batch are found as they are alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.card import read_card
from backbones.obtain import obtain
from bench.fine_tuning import SEED, Training, peer_runner
from benchmarks.schema import load_benchmark


class Case:
    """One stage on colored squares."""

    def __init__(self, stage: str, toml: Path, artifact: Path) -> None:
        self.stage, self.artifact = stage, artifact
        self.budget = getattr(load_benchmark(toml), stage)
        card = read_card(artifact)
        bench = importlib.import_module(f"bench.{stage}")
        self.card, (self.training, self.peer) = card, bench.parts(artifact, card, self.budget)

    def ours(self, work_dir: Path) -> Training:
        options: dict[str, Any] = dict(label=self.stage, seed=SEED, work_dir=work_dir)
        return Training(self.training(self.artifact, self.card, self.budget, **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Callable[..., Path]) -> Path:
    found = tmp_path_factory.mktemp("steps")
    make_benchmark(found, detection={"batch_size": 4}, segmentation={"batch_size": 4})
    obtain("scratch:resnet18d", found / "artifact", seed=0, width=0.125)
    return found


@pytest.fixture(params=["detection", "segmentation"])
def case(request: pytest.FixtureRequest, folder: Path) -> Case:
    return Case(request.param, folder / "squares.toml", folder / "artifact")


@pytest.mark.slow
def test_losses_are_upstreams(case: Case, tmp_path: Path) -> None:
    ours = case.ours(tmp_path / "ours")
    runner, _ = peer_runner(case.peer, case.budget, tmp_path / "peer")
    theirs = Training(runner, plain=True)
    for _ in range(2):  # within the first epoch, whose draws the peer can be given
        theirs.runner.model.load_state_dict(ours.runner.model.state_dict())
        assert ours.steps(1) == pytest.approx(theirs.steps(1), rel=5e-3)
        for name, moved in theirs.runner.model.state_dict().items():
            found = ours.runner.model.state_dict()[name]
            torch.testing.assert_close(found, moved, rtol=2e-2, atol=2e-3, msg=name)


@pytest.mark.slow
def test_without_faster_ways_losses_have_upstreams_bits(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRICKLE_REFERENCE", "all")
    ours = case.ours(tmp_path / "ours")
    runner, _ = peer_runner(case.peer, case.budget, tmp_path / "peer")
    theirs = Training(runner, plain=True)
    theirs.runner.model.load_state_dict(ours.runner.model.state_dict())
    assert ours.steps(2) == theirs.steps(2)


@pytest.mark.slow
def test_neighbours_in_a_batch_change_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = case.ours(tmp_path / "ours")
    together = predictions(ours)
    assert max(together["sizes"]) == 4
    monkeypatch.setenv("TRICKLE_REFERENCE", "test_batches")
    alone = predictions(case.ours(tmp_path / "alone"), weights=ours)
    assert set(alone.pop("sizes")) == {1}
    assert len(alone["found"]) == len(together["found"])
    for one, other in zip(alone["found"], together["found"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def predictions(training: Training, *, weights: Training | None = None) -> dict[str, Any]:
    model = training.runner.model.eval()
    if weights is not None:
        model.load_state_dict(weights.runner.model.state_dict())
    found, sizes = [], []
    for batch in training.runner.val_loop.dataloader:
        sizes.append(len(batch["inputs"]))
        with torch.no_grad():
            samples = model.val_step(batch)
        for sample in samples:
            if "pred_instances" in sample:
                instances = sample.pred_instances
                found.append(torch.cat([instances.bboxes, instances.scores[:, None]], dim=1))
            else:
                found.append(sample.seg_logits.data)
    return {"found": found, "sizes": sizes}
