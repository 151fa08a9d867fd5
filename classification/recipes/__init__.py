"""The recipes by name, ours and the user's."""

from __future__ import annotations

from classification.recipe import Recipe
from classification.recipes import (
    bag_of_tricks,
    label_noise,
    resnet_strikes_back,
    solving_imagenet,
)
from classification.recipes.card import RecipeCard

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
