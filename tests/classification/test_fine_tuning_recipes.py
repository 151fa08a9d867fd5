"""Recipes of fine-tuning: their names, what is derived from them, which tricks they take."""

from __future__ import annotations

import pytest

from backbones.catalog import UnknownNameError
from classification.derived import find_card, find_recipe, name_with_only, registered_name
from classification.recipe import Recipe
from classification.recipes import CARDS, FINE_TUNING, PRETRAINING, RECIPES
from classification.tricks import TRICKS


@pytest.mark.parametrize("registry", [PRETRAINING, FINE_TUNING], ids=lambda r: r.stage)
def test_a_registry_holds_tricks_of_its_stage_and_a_card_for_each(registry: object) -> None:
    assert set(registry.recipes) == set(registry.cards)  # type: ignore[attr-defined]
    for name, recipe in registry.recipes.items():  # type: ignore[attr-defined]
        registry.check(name, recipe)  # type: ignore[attr-defined]
        recipe.schedule.check(epochs=recipe.epochs)


def test_the_registries_share_no_name_and_no_dictionary() -> None:
    assert not set(RECIPES) & set(FINE_TUNING.recipes)
    assert PRETRAINING.recipes is RECIPES
    assert PRETRAINING.cards is CARDS  # to both a user's file adds


def test_plain_is_finetune_without_its_tricks() -> None:
    assert registered_name("finetune-all", FINE_TUNING) == "plain"
    assert find_recipe("plain", FINE_TUNING).trick_names == ()
    assert name_with_only("gradual", ["flips"], FINE_TUNING) == "gradual-all+flips"


def test_a_trick_is_added_and_taken_away_by_its_name() -> None:
    recipe = find_recipe("finetune-layer_decay+mixup", FINE_TUNING)
    assert "layer_decay" not in recipe.trick_names
    assert recipe.trick_names[-1] == "mixup"
    assert recipe.tuning.layer_decay == 1
    assert (
        "without layer_decay, with mixup"
        in find_card("finetune-layer_decay+mixup", FINE_TUNING).source
    )


def test_a_name_of_the_other_stage_is_unknown() -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe of fine-tuning 'mixup_distill'"):
        find_recipe("mixup_distill", FINE_TUNING)
    with pytest.raises(UnknownNameError, match="unknown recipe 'gradual'"):
        find_recipe("gradual")


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, trick in TRICKS.items()
        if trick.stage != "any" and "required" not in trick.knobs().values()
    ],
)
def test_a_trick_at_the_wrong_stage_is_refused_and_its_place_said(name: str) -> None:
    trick = TRICKS[name]
    if trick.stage == "finetune":
        with pytest.raises(
            ValueError, match=rf"{name} is a trick of fine-tuning.*~finetune\+{name}"
        ):
            find_recipe(f"standard+{name}")
    else:
        with pytest.raises(ValueError, match=rf"{name} is a trick of pretraining.*\+{name}~"):
            find_recipe(f"plain+{name}", FINE_TUNING)


def test_a_pretraining_says_nothing_of_fine_tuning() -> None:
    """So that no record of one gets another key."""
    assert "tuning" not in Recipe().canonical()
    assert "tuning" in find_recipe("finetune", FINE_TUNING).canonical()
