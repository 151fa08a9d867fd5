"""The recipes by name, ours and the user's."""

from __future__ import annotations

from classification.recipe import Recipe
from classification.recipes import (
    bag_of_tricks,
    fine_tuning,
    label_noise,
    resnet_strikes_back,
    solving_imagenet,
)
from classification.recipes.card import RecipeCard
from classification.recipes.registry import Registry

RECIPES: dict[str, Recipe] = {
    **bag_of_tricks.RECIPES,
    **solving_imagenet.RECIPES,
    **resnet_strikes_back.RECIPES,
    **label_noise.RECIPES,
}
CARDS: dict[str, RecipeCard] = {
    **bag_of_tricks.CARDS,
    **solving_imagenet.CARDS,
    **resnet_strikes_back.CARDS,
    **label_noise.CARDS,
}

FINE_TUNINGS: dict[str, Recipe] = {**fine_tuning.FINE_TUNINGS}
"""Of one's own images: what stands behind a `~`."""

PRETRAINING = Registry(stage="pretraining", recipes=RECIPES, cards=CARDS)
FINE_TUNING = Registry(stage="finetune", recipes=FINE_TUNINGS, cards={**fine_tuning.CARDS})
