"""The step of a pretraining against timm's: the same losses, and the bench that times both."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.train_step import RATE, Configuration, TimmStep, TrickleStep, measure
from classification.recipes.bag_of_tricks import standard
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.no_bias_decay import NoBiasDecay
from classification.tricks.zero_gamma import ZeroGamma

SMALL = Configuration(size=32, width=0.25, batch=8)
STEPS = 6


def recipe_of(*, rate: float) -> object:
    plain = standard | NoBiasDecay() | ZeroGamma()  # as timm begins
    return replace(plain, optimizer=replace(plain.optimizer, learning_rate=rate))


@pytest.fixture
def losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_mmengine: Callable[[], None]
) -> Callable[..., list[float]]:
    """losses(recipe, reference) -> of the first steps, with these fast paths switched off."""

    def of(recipe: object, reference: str = "") -> list[float]:
        monkeypatch.setenv("TRICKLE_REFERENCE", reference)
        forget_mmengine()
        return TrickleStep(recipe, SMALL, tmp_path / f"run_{reference}").losses(STEPS)

    return of


def test_the_steps_are_those_of_timm(
    losses: Callable[..., list[float]], tmp_path: Path, forget_mmengine: Callable[[], None]
) -> None:
    found = losses(recipe_of(rate=RATE))
    forget_mmengine()
    weights = TrickleStep(recipe_of(rate=RATE), SMALL, tmp_path / "weights").weights
    expected = TimmStep(weights, SMALL).losses(STEPS)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found[4] < 0.95 * found[0], "the images are those of the first step, the weights not"


@pytest.mark.parametrize(
    "name",
    [
        "all",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("channels_last", "fused_optimizer", "unread_losses")
        ),
    ],
)
def test_fast_and_plain_ways_agree(losses: Callable[..., list[float]], name: str) -> None:
    fast, plain = losses(recipe_of(rate=RATE)), losses(recipe_of(rate=RATE), name)
    assert fast == pytest.approx(plain, rel=1e-4)
    if name == "unread_losses":
        assert fast == plain


def test_half_precision_agrees(losses: Callable[..., list[float]]) -> None:
    recipe = recipe_of(rate=RATE)
    half = losses(recipe | HalfPrecision(format="bfloat16"))  # type: ignore[operator]
    assert half == pytest.approx(losses(recipe, "all"), rel=0.03)
    assert half != losses(recipe)


@pytest.mark.slow
def test_the_bench_runs(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = measure(SMALL, tmp_path, rounds=2, compiled=False)
    assert {"trickle", "trickle_float32", "timm_default", "timm_channels_last"} <= set(
        found["seconds"]
    )
    assert found["timm_default"]["ratio"] > 0
    json.dumps(found)
