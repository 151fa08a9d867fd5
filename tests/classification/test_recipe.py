"""The algebra of tricks, and the paper's rows as it spells them out."""

from __future__ import annotations

import itertools

import pytest

from backbones.catalog import UnknownNameError
from classification.names import parse_backbone
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import (
    CosineDecay,
    HalfPrecision,
    LabelSmoothing,
    Mixup,
    NoBiasDecay,
    StepDecay,
    Warmup,
    ZeroGamma,
)


def test_order_of_independent_tricks_says_nothing() -> None:
    tricks = [Warmup(epochs=5), ZeroGamma(), NoBiasDecay(), LabelSmoothing(0.1)]
    recipes = []
    for order in itertools.permutations(tricks):
        recipe = Recipe()
        for trick in order:
            recipe = recipe | trick
        recipes.append(recipe)
    assert len({recipe.digest() for recipe in recipes}) == 1
    assert len(set(recipes)) == 1


def test_a_knob_changes_the_digest() -> None:
    assert (Recipe() | Mixup(0.2)) != (Recipe() | Mixup(0.3))


def test_taking_a_trick_away_restores_what_was_before() -> None:
    assert RECIPES["smooth"] - LabelSmoothing == RECIPES["cosine"]
    assert RECIPES["cosine"] - CosineDecay == RECIPES["efficient"]
    without = RECIPES["mixup"] - LabelSmoothing
    assert without.trick_names == tuple(
        name for name in RECIPES["mixup"].trick_names if name != "label_smoothing"
    )
    assert without.epochs == 200


def test_the_same_trick_twice_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="label_smoothing"):
        RECIPES["smooth"] | LabelSmoothing(0.2)


def test_taking_away_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="mixup"):
        RECIPES["smooth"] - Mixup


def test_the_rows_are_those_of_the_paper() -> None:
    standard, efficient, cosine = (RECIPES[name] for name in ("standard", "efficient", "cosine"))
    assert (standard.batch_size, standard.epochs, standard.optimizer.learning_rate) == (
        256,
        120,
        0.1,
    )
    assert standard.schedule == StepDecay((30, 60, 90))
    assert efficient.batch_size == 1024
    assert efficient.optimizer.learning_rate == pytest.approx(0.4)
    assert efficient.warmup_epochs == 5
    assert efficient.precision == "half"
    assert cosine.schedule == CosineDecay()
    assert RECIPES["mixup"].epochs == RECIPES["mixup_distill"].epochs == 200
    assert RECIPES["distill"].distillation.teacher == "resnet152d_smooth"
    assert RECIPES["mixup_distill"].distillation.teacher == "resnet152d_mixup"
    assert RECIPES["mixup_distill"].distillation.temperature == 20
    assert RECIPES["mixup"].distillation is None


def test_parse_backbone() -> None:
    assert parse_backbone("resnet50d_mixup_distill") == ("resnet50d", "mixup_distill")
    assert parse_backbone("resnet18a_standard") == ("resnet18a", "standard")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet50d_mixpu", "mixup"),
        ("resnet50q_mixup", "resnet50"),
        ("resnt50d_mixup", "resnet50d"),
    ],
)
def test_unknown_names_say_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        parse_backbone(name)


def test_half_precision_is_a_trick_of_the_efficient_row() -> None:
    assert HalfPrecision.name in RECIPES["efficient"].trick_names
    assert RECIPES["standard"].precision == "float32"
