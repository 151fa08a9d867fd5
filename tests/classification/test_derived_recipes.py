"""Recipes that are derived by name: what the signs mean, and which name a recipe gets."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.catalog import UnknownNameError
from classification.derived import find_card, find_recipe, name_with_only, registered_name
from classification.names import parse_backbone
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import EMA, Distillation, Epochs, Mixup, Warmup, ZeroGamma
from eval.specs import parse_spec
from eval.specs import parse_specs as specs_of

STANDARD, MIXUP, MIXUP_DISTILL = (RECIPES[n] for n in ("standard", "mixup", "mixup_distill"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mixup-warmup", MIXUP - Warmup),
        ("mixup-warmup-zero_gamma", MIXUP - Warmup - ZeroGamma),
        ("mixup-zero_gamma-warmup", MIXUP - Warmup - ZeroGamma),
        ("standard+zero_gamma", STANDARD | ZeroGamma()),
        ("standard+mixup+ema", STANDARD | Mixup() | EMA()),
        ("mixup-all", STANDARD),
        ("mixup-all+epochs", STANDARD | Epochs(200)),  # the recipe's knob, epochs has no default
        ("mixup_distill-all+distillation+warmup", STANDARD | Warmup(5) | MIXUP_DISTILL.tricks[-1]),
        ("mixup-mixup+mixup", MIXUP),
    ],
)
def test_signs_are_the_algebra_of_tricks(name: str, meant: Recipe) -> None:
    assert find_recipe(name) == meant
    assert parse_backbone(f"resnet50d_{name}") == ("resnet50d", name)


def test_a_teacher_stays_that_of_the_recipe() -> None:
    distillation = find_recipe("mixup_distill-mixup-epochs").distillation
    assert isinstance(distillation, Distillation)
    assert distillation.teacher == "resnet152d_mixup"


@pytest.mark.parametrize(
    ("derived", "registered"),
    [
        ("mixup_distill-distillation", "mixup"),
        ("mixup-epochs-mixup", "smooth"),
        ("mixup-all", "standard"),
        ("mixup_distill-all+large_batch", "ladder1024_linear_scaling"),
        ("smooth+mixup", "smooth+mixup"),
    ],
)
def test_one_training_has_one_name(derived: str, registered: str) -> None:
    assert registered_name(derived) == registered
    (spec,) = parse_spec(f"resnet18b_{derived}")
    assert spec.name == f"resnet18b_{registered}"
    assert spec.tricks == RECIPES.get(registered, find_recipe(derived)).trick_names


def test_a_derived_row_and_the_registered_one_are_the_same_row() -> None:
    assert len(specs_of(["resnet50d_mixup", "resnet50d_mixup_distill-distillation"])) == 1


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_part_of_a_recipe_has_a_name_that_reads_as_it(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["mixup_distill", "efficient", "usi", "mixup-warmup"]))
    recipe = find_recipe(name)
    kept = data.draw(st.sets(st.sampled_from(recipe.trick_names)))
    derived = name_with_only(name, kept)
    # An independent way to the same recipe: the tricks by themselves, onto the same base.
    expected = recipe.base
    for trick in recipe.tricks:
        if trick.name in kept:
            expected = expected | trick
    assert find_recipe(derived).digest() == expected.digest()
    assert parse_backbone(f"timm:levit_384_{derived}") == ("timm:levit_384", derived)
    assert len(derived) < 200


def test_the_name_is_the_shortest() -> None:
    full = MIXUP_DISTILL.trick_names
    assert name_with_only("mixup_distill", full) == "mixup_distill"
    assert name_with_only("mixup_distill", []) == "standard"
    without = {t: name_with_only("mixup_distill", [k for k in full if k != t]) for t in full}
    assert without.pop("distillation") == "mixup"
    assert without == {trick: f"mixup_distill-{trick}" for trick in without}
    assert name_with_only("mixup_distill", ["zero_gamma"]) == "standard+zero_gamma"
    assert name_with_only("mixup_distill", ["distillation"]) == "mixup_distill-all+distillation"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet50d_mixup-cutout", "no cutout to take away"),
        ("resnet50d_mixup+mixup", "there already"),
        ("resnet50d_mixup-all-mixup", "no mixup to take away"),
        ("resnet50d_mixup+cut_mix", "conflicts"),
        ("resnet50d_standard+warmup", "no default for epochs"),
        ("resnet50d_mixup+zero_gama", "unknown trick"),
        ("resnet50d_mixup-", "unknown recipe"),
        ("resnet50d_mixup--warmup", "unknown recipe"),
        ("resnet50d_mixop-warmup", "unknown"),
        ("resnet5d_mixup-warmup", "unknown architecture"),
    ],
)
def test_what_cannot_be_derived_is_said(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_spec(name)


@given(text=st.text("mixup_al-+0", max_size=24))
@settings(max_examples=30, deadline=None)
def test_any_text_is_a_recipe_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(find_recipe(text), Recipe)


def test_the_name_of_a_file_is_no_recipe() -> None:
    with pytest.raises(UnknownNameError):
        parse_backbone("timm:resnet50@my_mixup-warmup")


def test_a_derived_recipe_says_where_it_comes_from() -> None:
    card = find_card("mixup-warmup+ema")
    assert "Table 6" in card.source
    assert "without warmup, with ema" in card.source
    assert card.expected == {}  # the paper measured no such row
    assert find_card("mixup_distill-distillation").expected["resnet50d"] == 79.01
