"""The tricks that set numbers of a training: which they set, and which values they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from classification.recipe import Recipe
from classification.tricks.channels_last import ChannelsLast
from classification.tricks.compile import Compile
from classification.tricks.cooldown import Cooldown
from classification.tricks.ema import EMA
from classification.tricks.epochs import Epochs
from classification.tricks.gradient_accumulation import GradientAccumulation
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.large_batch import LargeBatch
from classification.tricks.no_bias_decay import NoBiasDecay
from classification.tricks.warmup import Warmup
from classification.tricks.zero_gamma import ZeroGamma


@pytest.mark.parametrize(
    ("trick", "changed"),
    [
        (Cooldown(10), {"cooldown_epochs": 10}),
        (GradientAccumulation(4), {"accumulation": 4}),
        (EMA(0.99996), {"ema_decay": 0.99996}),
        (ChannelsLast(), {"channels_last": True}),
        (Compile(), {"compile": True}),
        (Epochs(200), {"epochs": 200}),
        (Warmup(5), {"warmup_epochs": 5}),
        (Warmup(5, start=0.05), {"warmup_epochs": 5, "warmup_start": 0.05}),
        (HalfPrecision(), {"precision": "half"}),
        (HalfPrecision(format="bfloat16"), {"precision": "bfloat16"}),
        (HalfPrecision(format="float16"), {"precision": "float16"}),
        (
            HalfPrecision(format="float16", loss_scale=1024.0),
            {"precision": "float16", "loss_scale": 1024.0},
        ),
        (HalfPrecision(loss_scale=128.0), {"precision": "half", "loss_scale": 128.0}),
        (ZeroGamma(), {}),
        (NoBiasDecay(), {}),
    ],
)
def test_a_trick_sets_its_numbers_in_the_recipe_and_no_others(
    trick: Any, changed: dict[str, Any]
) -> None:
    before, after = Recipe().numbers(), (Recipe() | trick).numbers()
    assert {key: after[key] for key in after if after[key] != before[key]} == changed


def test_accumulation_leaves_batch_size_and_rate_as_they_are() -> None:
    recipe = Recipe() | LargeBatch(1024) | GradientAccumulation(4)
    assert recipe.batch_size == 1024
    assert recipe.optimizer.learning_rate == pytest.approx(0.4)


@pytest.mark.parametrize(
    "trick",
    [
        ChannelsLast,
        Compile,
        Cooldown,
        EMA,
        Epochs,
        GradientAccumulation,
        HalfPrecision,
        LargeBatch,
        NoBiasDecay,
        Warmup,
        ZeroGamma,
    ],
)
def test_tricks_of_efficiency_stand_in_its_chapter(trick: Any) -> None:
    assert trick.kind == "efficiency"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cooldown(0),
        lambda: Cooldown(float("nan")),
        lambda: GradientAccumulation(0),
        lambda: GradientAccumulation(1.5),  # type: ignore[arg-type]
        lambda: EMA(0.0),
        lambda: EMA(1.0),
        lambda: Warmup(0),
        lambda: Warmup(5, start=1.0),
        lambda: Warmup(5, start=-0.1),
        lambda: HalfPrecision(format="float8"),  # type: ignore[arg-type]
        lambda: HalfPrecision(loss_scale=0),
        lambda: HalfPrecision(loss_scale=-1.0),
        lambda: HalfPrecision(loss_scale="static"),  # type: ignore[arg-type]
        lambda: HalfPrecision(format="bfloat16", loss_scale=1024.0),
    ],
)
def test_knobs_of_efficiency_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="not"):
        make()
