"""Each trick through the whole pretraining stage: real files, loader, step, validation, export."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from backbones import create_backbone, load_artifact, read_card, save_artifact
from benchmarks.imagenet_layout import read_index
from benchmarks.schema import PretrainingBudget
from classification.budget import training_plan
from classification.model import Classifier
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.training import Training, build_training, exported
from classification.tricks import EMA, CosineDecay, Distillation, GradientAccumulation, Pretrained
from classification.tricks.examples import EXAMPLES

WIDTH, CLASSES = 0.125, 3


@pytest.fixture(scope="module")
def budget(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> PretrainingBudget:
    folder = tmp_path_factory.mktemp("squares")
    make_benchmark(folder)
    return PretrainingBudget(
        root=folder / "imagenet",
        image_size=32,
        resize_size=36,
        epoch_scale=0.01,
        batch_size_scale=1 / 32,
        learning_rate_scale=0.1,
        workers=0,
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with a head: a teacher, or where to start from."""
    folder = tmp_path_factory.mktemp("other") / "artifact"
    torch.manual_seed(7)
    backbone = create_backbone("resnet18d", width=WIDTH)
    head = Classifier(backbone, CLASSES).head.state_dict()
    save_artifact(folder, backbone, {"weights": "trained", "seed": 7}, head=dict(head))
    return folder


@pytest.fixture
def build(
    budget: PretrainingBudget, tmp_path: Path, forget_mmengine: Callable[[], None]
) -> Callable[..., Training]:
    def make(
        recipe: Recipe, *, architecture: str = "resnet18d", image_size: int = 32, **options: Any
    ) -> Training:
        forget_mmengine()
        train, val = (read_index(budget.root, split) for split in ("train", "val"))
        sizes = {"image_size": image_size, "resize_size": image_size + 4}
        plan = training_plan(
            recipe, budget.model_copy(update=sizes), len(train.samples), architecture=architecture
        )
        return build_training(
            plan,
            label="toy",
            architecture=architecture,
            width=WIDTH,
            seed=0,
            train=train.samples,
            val=val.samples,
            num_classes=CLASSES,
            workers=0,
            work_dir=tmp_path / "work",
            **options,
        )

    return make


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: t.detach().clone() for name, t in training.classifier.named_parameters()}


ALONE = ("pretrained", "distillation", "compile", "best_weights", "found_learning_rate")
"""Tricks with a test of their own, here or elsewhere: best weights may rightly end with those of a
first step whose learning rate is 0, and a learning rate is found in a hundred steps."""


def _companies() -> list[list[str]]:
    """All other tricks, in as few recipes as their conflicts allow."""
    companies: list[tuple[list[str], Recipe]] = []
    for name in sorted(set(EXAMPLES) - set(ALONE)):
        for index, (names, recipe) in enumerate(companies):
            try:
                companies[index] = ([*names, name], recipe | EXAMPLES[name])
                break
            except ValueError:
                continue
        else:
            companies.append(([name], Recipe(epochs=200) | EXAMPLES[name]))
    return [names for names, _ in companies]


def _is_trained(names: list[str], build: Callable[..., Training]) -> bool:
    """Whether all weights stay finite, some move, and no trick finds nothing to act on."""
    recipe = Recipe(epochs=200)
    for name in names:
        recipe = recipe | EXAMPLES[name]
    training = build(recipe)
    before = weights(training)
    training.runner.train()
    after = weights(training)
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in after.values())
    moved = any(not torch.equal(before[key], after[key]) for key in before)
    measured = 0 <= training.runner.train_loop.metrics["top1"] <= 100
    return finite and moved and measured and training.notes == ()


@pytest.mark.parametrize("names", _companies(), ids=lambda names: names[0])
def test_they_train_together(names: list[str], build: Callable[..., Training]) -> None:
    assert _is_trained(names, build)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(ALONE)))
def test_it_trains(name: str, build: Callable[..., Training]) -> None:
    assert _is_trained([name], build)


def test_distillation_trains(build: Callable[..., Training], other: Path) -> None:
    training = build(Recipe() | Distillation(str(other)), teacher=str(other))
    training.runner.train()
    assert math.isfinite(training.runner.train_loop.metrics["top1"])


def test_pretrained_starts_from_the_artifact_with_a_new_head(
    build: Callable[..., Training], other: Path
) -> None:
    training = build(Recipe() | Pretrained(str(other)))
    for name, tensor in load_artifact(other).state_dict().items():
        assert torch.equal(training.classifier.backbone.state_dict()[name], tensor)
    plain = build(Recipe())
    assert torch.equal(training.classifier.head.weight, plain.classifier.head.weight)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_compiled_training_is_the_same_function(build: Callable[..., Training]) -> None:
    plain, compiled = build(Recipe()), build(Recipe() | EXAMPLES["compile"])
    for training in (plain, compiled):
        training.runner.train()
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], tensor, rtol=1e-3, atol=1e-4)


def test_the_average_is_what_is_exported(build: Callable[..., Training]) -> None:
    plain, averaged = build(Recipe()), build(Recipe() | EMA(0.9999))
    seen: list[dict[str, torch.Tensor]] = []
    plain.runner.register_hook(_Recorder(plain, seen))
    for training in (plain, averaged):
        training.runner.train()
    # 120 * 0.01 of 24 images in batches of 8 are 4 steps; on ImageNet 120 * 1281167 / 256 steps.
    decay = 0.9999 ** (120 * 1_281_167 / 256 / 4)
    average = seen[0]
    for weights_now in seen[1:]:
        average = {k: decay * average[k] + (1 - decay) * weights_now[k] for k in average}
    backbone, _ = exported(averaged.classifier)
    for name, tensor in backbone.named_parameters():
        torch.testing.assert_close(tensor, average[f"backbone.{name}"], rtol=1e-4, atol=1e-6)


class _Recorder:
    """Keeps the weights after every step."""

    def __new__(cls, training: Training, seen: list[dict[str, torch.Tensor]]) -> Any:
        from mmengine.hooks import Hook

        class Record(Hook):
            def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
                seen.append(weights(training))

        return Record()


def test_parts_of_a_batch_follow_the_schedule_of_the_whole(
    build: Callable[..., Training],
) -> None:
    from mmengine.hooks import Hook

    class Rates(Hook):
        priority = "VERY_LOW"
        seen: ClassVar[list[float]] = []

        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            self.seen.append(runner.optim_wrapper.optimizer.param_groups[0]["lr"])

    training = build(Recipe() | CosineDecay() | GradientAccumulation(4))
    training.runner.register_hook(Rates())
    training.runner.train()
    # 4 steps of 4 parts: 0.1 * 0.1 * 0.5 (1 + cos(pi t / 4)) for t = 0, 1, 2, 3.
    steps = [0.005 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert Rates.seen == pytest.approx([rate for rate in steps for _ in range(4)])


@pytest.mark.parametrize("architecture", ["mobilenet", "inception_v3"])
def test_the_stacked_rows_train_on_networks_without_residual_blocks(
    build: Callable[..., Training], architecture: str
) -> None:
    # Where others see 64 pixels, Inception-V3 sees 64 * 299 / 224 = 85.
    recipe = replace(RECIPES["smooth"], batch_size=256)
    training = build(recipe, architecture=architecture, image_size=64)
    (note,) = training.notes
    assert "zero_gamma" in note
    assert "no residual blocks" in note
    training.runner.train()


def test_a_teacher_that_is_weaker_than_its_student_is_said_and_recorded(
    make_benchmark: Any, tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], forget_mmengine: Callable[[], None],
) -> None:  # fmt: skip
    from classification.pretrain import main
    from engine.results import StageResult

    weak = tmp_path / "weak"
    torch.manual_seed(7)
    backbone = create_backbone("resnet18d", width=WIDTH)
    head = dict(Classifier(backbone, CLASSES).head.state_dict())
    measured = {"top1": 0, "top5": 100, "n": 9}
    save_artifact(weak, backbone, {"weights": "trained", "seed": 7, "metrics": measured}, head=head)
    monkeypatch.setitem(RECIPES, "taught", Recipe() | Distillation(str(weak), weight=0.1))
    toml = make_benchmark(tmp_path / "data")
    result = tmp_path / "result.json"
    words = {
        "backbone": "resnet18d_taught", "benchmark": toml, "artifact": tmp_path / "a",
        "work-dir": tmp_path / "w", "result": result, "teacher": weak,
    }  # fmt: skip
    main([word for key, value in words.items() for word in (f"--{key}", str(value))])
    (note,) = StageResult.read(result).notes
    assert "weaker than its student: top-1 0.0 of weak" in note
    assert note in capsys.readouterr().err
    assert read_card(tmp_path / "a").notes["remarks"] == [note]
