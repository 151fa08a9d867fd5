"""Learning rate range tests: what is suggested, by curves whose answer is known; and a training
that finds its rate is the training with that rate written out, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from benchmarks.imagenet_layout import read_index
from benchmarks.schema import PretrainingBudget
from classification import find_learning_rate, learning_rate_range
from classification.budget import training_plan
from classification.learning_rate_range import (
    FILE_NAME,
    PLOT_NAME,
    has_diverged,
    ranges_in,
    suggest,
    sweep,
    with_ranges,
)
from classification.optimizers import SGD, Optimizer
from classification.recipe import Recipe
from classification.training import Training, build_training
from classification.tricks import (
    EMA,
    Dropout,
    FoundLearningRate,
    GradientAccumulation,
    GradualUnfreezing,
    LayerDecay,
    Lookahead,
    Mixup,
    UseOptimizer,
)
from engine.evidence import Evidence

STEPS = 100
FACTOR = 10 ** (6 / 99)  # from one rate to the next


def test_rates_grow_by_the_same_factor() -> None:
    assert sweep(1e-6, 1.0, STEPS) == pytest.approx([1e-6 * FACTOR**i for i in range(STEPS)])


@pytest.mark.parametrize("steepest", [1e-4, 3e-3, 0.02])
@pytest.mark.parametrize("scatter", [0.0, 0.03])
def test_the_steepest_place_of_a_logistic_curve(steepest: float, scatter: float) -> None:
    rates = sweep(1e-6, 1.0, STEPS)
    losses = 2.3 - 1.8 / (1 + (steepest / rates))  # its inflection over log(rate)
    losses += np.random.default_rng(0).normal(0, scatter, STEPS) if scatter else 0
    found = suggest(rates, losses.tolist(), rule="steepest", steps=STEPS)
    assert abs(math.log(found.rate / steepest)) < (1 if not scatter else 6) * math.log(FACTOR)
    assert found.diverges_at is None


def test_the_middle_of_a_fall_and_a_tenth_of_the_minimum() -> None:
    """Flat until 1e-4, straight down to 1e-2 and up again: the middle of the fall is 1e-3."""
    logs = np.log10(rates := sweep(1e-6, 1.0, STEPS))
    losses = np.where(logs < -2, 2.0 - np.clip(logs + 4, 0, None) / 2, 1.0 + (logs + 2) * 2)
    losses -= np.linspace(0, 1e-3, STEPS)  # a plateau that creeps is no fall
    for rule in ("valley", "minimum"):
        found = suggest(rates, losses.tolist(), rule=rule, steps=STEPS)
        assert abs(math.log(found.rate / 1e-3)) < 3 * math.log(FACTOR), rule


@pytest.mark.parametrize("rule", ["valley", "steepest", "minimum"])
@pytest.mark.parametrize("curvature", [3.0, 50.0, 2000.0])
def test_a_quadratic_diverges_above_two_over_its_curvature(rule: Any, curvature: float) -> None:
    """Gradient descent on L x²/2 multiplies x by 1 - rate L: stable below 2 / L."""
    rates, x, losses = sweep(1e-6, 10.0, STEPS), 1.0, []
    for rate in rates:
        losses.append(curvature * x * x / 2 + 1)
        if has_diverged(losses):
            break
        x *= 1 - rate * curvature
    found = suggest(rates[: len(losses)], losses, rule=rule, steps=STEPS)
    assert found.diverges_at is not None
    assert 2 / curvature < found.diverges_at < 100 / curvature
    assert found.rate < 2 / curvature


def test_a_single_bad_batch_is_no_divergence() -> None:
    losses = [2.0] * 30 + [20.0]
    assert not has_diverged(losses)
    assert has_diverged([*losses, *[20.0] * 10])
    assert has_diverged([2.0, math.nan])


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.3] * STEPS, "begins at 2.3 and its lowest is 2.3"),
        (list(2.3 + np.random.default_rng(1).normal(0, 0.3, STEPS)), "no fall beyond its scatter"),
        (list(np.linspace(2.3, 9, STEPS)), "no fall beyond"),
        ([math.nan], "was nan at step 1 already, at a rate of 1e-06"),
        ([2.3, 2.2, 2.1, math.inf], "was inf at step 4"),
    ],
)
@pytest.mark.parametrize("rule", ["valley", "steepest", "minimum"])
def test_without_a_fall_nothing_is_suggested(losses: list[float], said: str, rule: Any) -> None:
    with pytest.raises(ValueError, match=said):
        suggest(sweep(1e-6, 1.0, STEPS)[: len(losses)], losses, rule=rule, steps=STEPS)


def scattering(rng: np.random.Generator, count: int, correlation: float) -> list[float]:
    """Losses about 2.3, each the last one and a new one, of deviation 0.2: they never fall."""
    losses = [float(rng.normal())]
    for new in rng.normal(0, math.sqrt(1 - correlation**2), count - 1):
        losses.append(correlation * losses[-1] + float(new))
    return [2.3 + 0.2 * loss for loss in losses]


@pytest.mark.parametrize(("correlation", "most"), [(0.0, 0.04), (0.3, 0.09), (0.5, 0.115)], ids=str)
@pytest.mark.parametrize("steps", [20, 100])
def test_losses_that_only_scatter_are_refused(steps: int, correlation: float, most: float) -> None:
    """At most so often something is suggested, and three standard deviations of 300 tests."""
    rng, suggested = np.random.default_rng(0), 0
    for _ in range(300):
        losses = scattering(rng, steps, correlation)
        try:
            suggest(sweep(1e-6, 1.0, steps), losses, rule="minimum", steps=steps)
            suggested += 1
        except ValueError:
            pass
    assert suggested <= 300 * most + 3 * math.sqrt(300 * most * (1 - most))


@pytest.mark.parametrize("seed", range(5))
def test_a_fall_of_two_deviations_is_found_in_the_scatter(seed: int) -> None:
    scatter = np.random.default_rng(seed).normal(0, 0.25, STEPS)
    rates = sweep(1e-5, 10.0, STEPS)
    losses = 3.1 - 0.6 / (1 + 1e-3 / rates) + scatter
    assert suggest(rates, losses.tolist(), rule="valley", steps=STEPS).diverges_at is None


@pytest.mark.parametrize("steps", [20, 25, 30])
@pytest.mark.parametrize("steepness", [1.5, 3.0, 6.0])
def test_a_fall_of_eight_deviations_is_found_in_few_steps(steps: int, steepness: float) -> None:
    """A logistic one over the decades: the steepest falls from one loss to the next but one."""
    rates = sweep(1e-6, 1.0, steps)
    fall = 0.8 / (1 + np.exp(-(np.log10(rates) + 2.8) * steepness))
    rng, tests = np.random.default_rng(0), 60
    for climb in (0.0, 6.0):  # for each decade above 10**-1.2
        suggested = 0
        for _ in range(tests):
            losses = 2.35 - fall + climb * np.clip(np.log10(rates) + 1.2, 0, None)
            losses += rng.normal(0, 0.1, steps)
            try:
                suggest(rates, losses.tolist(), rule="valley", steps=steps)
                suggested += 1
            except ValueError:
                pass
        assert suggested >= 0.9 * tests, climb


@pytest.mark.parametrize("again", [1.7, 1.4, 1.1], ids=["above", "as low", "lower"])
@pytest.mark.parametrize("rule", ["valley", "steepest", "minimum"])
def test_a_second_fall_behind_a_divergence_does_not_count(rule: Any, again: float) -> None:
    """2.3 until 1e-4, down to 1.4 at 1e-3, up to 3 until 1e-2 and down again until 1: as trainings
    do that begin anew from where they were thrown."""
    rates = sweep(1e-6, 1.0, STEPS)
    losses = np.interp(np.log10(rates), [-6, -4, -3, -2.5, -2, 0], [2.3, 2.3, 1.4, 3, 3, again])
    found = suggest(rates, losses.tolist(), rule=rule, steps=STEPS)
    assert found.diverges_at is not None
    assert 1e-3 < found.diverges_at < 10**-2.5
    assert 7e-5 < found.rate < 1e-3
    alone = suggest(rates[:58], losses[:58].tolist(), rule=rule, steps=STEPS)  # until it is lost
    assert abs(math.log(found.rate / alone.rate)) < 2 * math.log(FACTOR)


def test_a_dip_on_the_way_down_is_no_divergence() -> None:
    rates = sweep(1e-6, 1.0, STEPS)
    losses = np.interp(np.log10(rates), [-6, -5, -4, -3.7, -2, 0], [2.3, 2.3, 1.8, 2.0, 0.5, 0.6])
    found = suggest(rates, losses.tolist(), rule="minimum", steps=STEPS)
    assert found.diverges_at is None
    assert abs(math.log(found.rate / 1e-3)) < 5 * math.log(FACTOR)


@pytest.mark.parametrize(
    "knobs",
    [{"lowest": 0}, {"lowest": 1.0}, {"highest": math.nan}, {"steps": 19}, {"rule": "middle"}],
)
def test_knobs_out_of_range_are_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(knobs))):
        FoundLearningRate(**knobs)


WIDTH, CLASSES = 0.125, 3
BASE = Recipe(
    optimizer=SGD(learning_rate=0.1), batch_size=256, epochs=200
)  # on the toy: 8 images of 24 for a step, 12 steps
FOUND = FoundLearningRate(steps=20, lowest=1e-4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    make_benchmark(folder)
    return folder / "imagenet"


Build = Callable[..., Training]


@pytest.fixture
def build(root: Path, tmp_path: Path, forget_mmengine: Callable[[], None]) -> Build:
    def make(recipe: Recipe, name: str) -> Training:
        forget_mmengine()
        budget = PretrainingBudget(
            root=root,
            image_size=32,
            resize_size=36,
            epoch_scale=0.02,
            batch_size_scale=1 / 32,
            learning_rate_scale=1.0,
            workers=0,
        )
        images, val = (read_index(root, split) for split in ("train", "val"))
        return build_training(
            training_plan(recipe, budget, len(images.samples), architecture="resnet18d"),
            label="toy",
            architecture="resnet18d",
            width=WIDTH,
            seed=0,
            train=images.samples,
            val=val.samples,
            num_classes=CLASSES,
            workers=0,
            work_dir=tmp_path / name,
        )

    return make


def trained(training: Training) -> dict[str, torch.Tensor]:
    training.runner.train()
    return training.classifier.state_dict()


@pytest.fixture
def any_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of eight images of 24 scatter by half of what the loss falls, which may be refused:
    what matters is what comes after."""
    monkeypatch.setattr(learning_rate_range, "_check_fall", lambda *_: None)


def _same_as_written_out(recipe: Recipe, build: Build) -> None:
    finding = build(recipe | FOUND, "finding")
    found = trained(finding)
    rate = finding.runner.protocol["found_learning_rate"]
    assert rate != recipe.optimizer.learning_rate
    optimizer = replace(recipe.optimizer, learning_rate=rate)
    written = trained(build(replace(recipe, optimizer=optimizer), "written"))
    assert all(torch.equal(tensor, found[name]) for name, tensor in written.items())


@pytest.mark.usefixtures("any_curve")
def test_it_trains_as_with_the_rate_written_out(build: Build) -> None:
    _same_as_written_out(BASE | Dropout(0.1) | Mixup(0.2), build)


COMPANIES: dict[str, Recipe] = {
    "averaged": BASE | EMA(0.9) | GradientAccumulation(2),
    "adamw": replace(BASE, optimizer=Optimizer(name="adamw", learning_rate=0.01))
    | LayerDecay(0.65),
    "lookahead": BASE | Lookahead(k=2),
    "lamb": BASE | UseOptimizer("lamb", learning_rate=0.01, weight_decay=0.1) | LayerDecay(0.5),
    "gradual": BASE | GradualUnfreezing(30),
    "half": replace(BASE, precision="bfloat16"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMPANIES))
@pytest.mark.usefixtures("any_curve")
def test_in_any_company_it_trains_as_with_the_rate_written_out(name: str, build: Build) -> None:
    _same_as_written_out(COMPANIES[name], build)


class Interrupting(Hook):  # type: ignore[misc]
    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
        if batch_idx + 1 == self.step:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.usefixtures("any_curve")
def test_a_training_that_goes_on_does_not_test_again(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = BASE | FOUND
    whole = trained(build(recipe, "whole"))
    first = build(recipe, "parts")
    first.runner.register_hook(Interrupting(5))
    with pytest.raises(KeyboardInterrupt):
        first.runner.train()
    assert (tmp_path / "parts" / PLOT_NAME).read_bytes().startswith(b"\x89PNG")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a second range test")

    with monkeypatch.context() as patch:
        patch.setattr(find_learning_rate, "suggest", never)
        second = build(recipe, "parts")
        parts = trained(second)
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    (note,) = [note for note in second.runner.notes if "range test" in note]
    assert f"learning rate {second.runner.protocol['found_learning_rate']:g} found" in note

    (tmp_path / "parts" / FILE_NAME).unlink()
    with pytest.raises(ValueError, match=r"range_test\.json is gone"):
        trained(build(recipe, "parts"))


@pytest.mark.slow
@pytest.mark.usefixtures("any_curve")
def test_an_interrupted_test_is_done_again(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(build(BASE | FOUND, "whole"))
    looked = []

    def interrupted(losses: list[float]) -> bool:
        looked.append(losses)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(find_learning_rate, "has_diverged", interrupted)
        first = build(BASE | FOUND, "parts")
        with pytest.raises(KeyboardInterrupt):
            first.runner.train()
    assert looked
    assert not (tmp_path / "parts" / FILE_NAME).exists()
    parts = trained(build(BASE | FOUND, "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_evidence_holds_the_tests_of_all_folds(tmp_path: Path) -> None:
    evidence = Evidence(task="finetune", classes=(), images=(), arrays={"label": np.zeros(2)})
    assert with_ranges(evidence, [tmp_path]) is evidence
    assert ranges_in(evidence) == []
    rates = sweep(1e-6, 1.0, STEPS)
    losses = (2.3 - 1.8 / (1 + 1e-3 / rates)).tolist()
    longer = suggest(rates, losses, rule="steepest", steps=STEPS)
    shorter = suggest(rates[:80], [*losses[:79], math.nan], rule="steepest", steps=STEPS)
    for name, test in (("fold-1", longer), ("fold-2", shorter)):
        (tmp_path / name).mkdir()
        test.write(tmp_path / name, {})
    found = ranges_in(with_ranges(evidence, [tmp_path / "fold-1", tmp_path / "fold-2"]))
    assert [len(of_rates) for of_rates, _, _ in found] == [100, 79]
    for (of_rates, of_losses, rate), test in zip(found, (longer, shorter), strict=True):
        assert of_rates.tolist() == rates[: len(of_rates)].tolist()
        assert of_losses.tolist() == losses[: len(of_losses)]
        assert rate == test.rate
    broken = replace(evidence, arrays={"range_rates": rates})
    with pytest.raises(ValueError, match="not whole"):
        ranges_in(broken)
