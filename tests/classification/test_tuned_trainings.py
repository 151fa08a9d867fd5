"""Fine-tuning tricks through whole trainings: what is frozen keeps its bits, what is resumed ends
as what never stopped, and cached features give the losses of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from backbones import create_backbone, load_artifact, save_artifact
from benchmarks.imagenet_layout import read_index
from benchmarks.schema import PretrainingBudget
from classification import feature_cache
from classification.budget import training_plan
from classification.optimizers import Optimizer
from classification.recipe import Recipe
from classification.training import Training, build_training
from classification.tricks import (
    EMA,
    BestWeights,
    ChannelsLast,
    Dropout,
    GradientAccumulation,
    GradualUnfreezing,
    HeadOnly,
    HiddenLayers,
    LayerDecay,
    Lookahead,
    PlainViews,
    UseOptimizer,
)

WIDTH, CLASSES = 0.125, 3
BASE = Recipe(batch_size=256, epochs=200)  # on the toy: 8 images of 24 for a step, 12 steps
GRADUAL = GradualUnfreezing(30)  # 1.8 steps for each stage


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    make_benchmark(folder)
    return folder / "imagenet"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "artifact"
    torch.manual_seed(7)
    backbone = create_backbone("resnet18d", width=WIDTH)
    for module in backbone.modules():  # as trained ones: not all zeros and ones
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    save_artifact(folder, backbone, {"weights": "trained", "seed": 7})
    return folder


class Watch(Hook):
    """What each step lost, and the state before and after it; ends the process where it is told."""

    priority = "LOWEST"

    def __init__(self, training: Training, interrupt: int | None, states: bool) -> None:
        self.training, self.interrupt, self.keeps = training, interrupt, states
        self.losses: list[float] = []
        self.states: list[dict[str, torch.Tensor]] = []

    def before_train(self, runner: Any) -> None:
        self._keep()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(float(outputs["loss"].detach()))
        self._keep()
        if batch_idx + 1 == self.interrupt:
            raise KeyboardInterrupt

    def _keep(self) -> None:
        if self.keeps:
            state = self.training.classifier.state_dict()
            self.states.append({name: t.detach().clone() for name, t in state.items()})


Train = Callable[..., tuple[Training, Watch]]


@pytest.fixture
def train(root: Path, start: Path, tmp_path: Path, forget_mmengine: Callable[[], None]) -> Train:
    def go(
        recipe: Recipe,
        name: str,
        *,
        interrupt: int | None = None,
        states: bool = False,
        hooks: Sequence[Hook] = (),
    ) -> tuple[Training, Watch]:
        forget_mmengine()
        budget = PretrainingBudget(
            root=root,
            image_size=32,
            resize_size=36,
            epoch_scale=0.02,
            batch_size_scale=1 / 32,
            learning_rate_scale=0.1,
            workers=0,
        )
        images, val = (read_index(root, split) for split in ("train", "val"))
        plan = training_plan(recipe, budget, len(images.samples), architecture="resnet18d")
        training = build_training(
            plan,
            label="toy",
            architecture="resnet18d",
            width=WIDTH,
            seed=0,
            train=images.samples,
            val=val.samples,
            num_classes=CLASSES,
            workers=0,
            work_dir=tmp_path / name,
            start=start,
        )
        watch = Watch(training, interrupt, states)
        for hook in (*hooks, watch):
            training.runner.register_hook(hook)
        if interrupt is None:
            training.runner.train()
        else:
            with pytest.raises(KeyboardInterrupt):
                training.runner.train()
        return training, watch

    return go


def adam(recipe: Recipe) -> Recipe:
    return replace(recipe, optimizer=Optimizer(name="adamw", learning_rate=0.01, weight_decay=0.1))


COMPANIES: dict[str, Recipe] = {
    "sgd": BASE | GRADUAL,
    "averaged": BASE | GRADUAL | EMA(0.9),
    "adamw": adam(BASE) | GRADUAL | LayerDecay(0.5),
    "lookahead": BASE | GRADUAL | Lookahead(k=2),
    "accumulated": BASE | GRADUAL | GradientAccumulation(2) | ChannelsLast(),
    "lamb": BASE | GRADUAL | UseOptimizer("lamb", learning_rate=0.01, weight_decay=0.1),
}


def learns_from(step: int, steps: int, part: str) -> bool:
    """The closed form: the head at once, stage 4 at epoch 30 of 200, the others 30 later each."""
    begins = {"head": 0, "layer4": 30, "layer3": 60, "layer2": 90}.get(part, 120)
    return step * 200 / steps >= begins


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMPANIES))
def test_what_is_frozen_keeps_every_bit_until_its_turn(name: str, train: Train) -> None:
    _, watch = train(COMPANIES[name], name, states=True)
    accumulation = COMPANIES[name].accumulation
    steps = len(watch.losses) // accumulation
    assert steps >= 12
    moved: dict[str, int] = {}
    for micro, (before, after) in enumerate(zip(watch.states, watch.states[1:], strict=False)):
        for key in before:
            if not torch.equal(before[key], after[key]):
                moved.setdefault(key, micro)
    for key in watch.states[0]:
        words = key.split(".")
        part = "head" if words[0] == "head" else words[1]
        first = next(s for s in range(steps) if learns_from(s, steps, part))
        statistics = "running" in key or "batches" in key
        # Statistics move with each micro-step's forward, weights when the optimizer does; a
        # learning rate of 0 in a step would not do here.
        due = first * accumulation + (0 if statistics else accumulation - 1)
        assert moved.get(key) == due, key


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMPANIES))
def test_interrupted_within_the_schedule_it_ends_in_the_same_bits(name: str, train: Train) -> None:
    recipe = COMPANIES[name] | BestWeights()
    whole, _ = train(recipe, "whole")
    train(recipe, "parts", interrupt=5 * recipe.accumulation)
    parts, seen = train(recipe, "parts")
    assert 0 < len(seen.losses) < 12 * recipe.accumulation  # it went on, and did not start anew
    ended = parts.classifier.state_dict()
    for key, tensor in whole.classifier.state_dict().items():
        assert torch.equal(tensor, ended[key]), key
    assert whole.runner.train_loop.metrics == parts.runner.train_loop.metrics


HEADS = BASE | HeadOnly() | PlainViews() | HiddenLayers((16,), 0.5) | Dropout(0.1) | BestWeights()


@pytest.mark.slow
@pytest.mark.parametrize("in_file", [False, True])
def test_cached_features_give_the_losses_of_the_images(
    in_file: bool, train: Train, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_file:
        monkeypatch.setattr(feature_cache, "MOST_IN_MEMORY", 0)
    cached, with_cache = train(HEADS, "cached")
    with monkeypatch.context() as patch:
        patch.setattr("classification.training_loaders.trains_on_features", lambda recipe: False)
        plain, without = train(HEADS, "plain")
    assert with_cache.losses == pytest.approx(without.losses, rel=1e-4)
    assert len(set(with_cache.losses)) > 5
    for name, tensor in load_artifact(start).state_dict().items():
        assert torch.equal(cached.classifier.backbone.state_dict()[name], tensor), name
        assert torch.equal(plain.classifier.backbone.state_dict()[name], tensor), name
    assert not list((tmp_path / "cached").glob("*.npy"))


@pytest.mark.slow
def test_head_only_on_cached_features_resumes_in_the_same_bits(train: Train) -> None:
    whole, all_steps = train(HEADS, "whole")
    train(HEADS, "parts", interrupt=5)
    parts, rest = train(HEADS, "parts")
    assert rest.losses == all_steps.losses[-len(rest.losses) :]
    for key, tensor in whole.classifier.state_dict().items():
        assert torch.equal(tensor, parts.classifier.state_dict()[key]), key


class Scripted(Hook):
    """Makes the validations' scores up, and keeps the weights that each of them saw."""

    priority = "HIGHEST"
    SCORES = (10.0, 30.0, 90.0, 90.0, 20.0)  # the fourth is the best, and the last of two alike

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None
        metrics["top1"] = dict(enumerate(self.SCORES)).get(len(self.seen), 5.0)
        state = runner.model.classifier.state_dict()
        self.seen.append({name: tensor.clone() for name, tensor in state.items()})


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
def test_it_ends_with_the_weights_of_its_best_validation(averaged: bool, train: Train) -> None:
    scores = Scripted()
    recipe = BASE | BestWeights() | (EMA(0.999) if averaged else LayerDecay(0.9))
    training, _ = train(recipe, "best", hooks=[scores])
    ended = training.classifier.state_dict()
    assert len(scores.seen) > 6
    for name, tensor in scores.seen[3].items():
        assert torch.equal(ended[name], tensor), name
    assert any(not torch.equal(ended[name], scores.seen[-1][name]) for name in ended)
    assert training.runner.train_loop.metrics["top1"] not in Scripted.SCORES  # measured anew
