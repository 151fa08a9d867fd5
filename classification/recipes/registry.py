"""The recipes of one stage: what a name is looked up in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from classification.recipe import Recipe
from classification.recipes.card import RecipeCard

_TITLES = {"pretraining": "recipe", "finetune": "recipe of fine-tuning"}
_INSTEAD = {
    "pretraining": "fine-tuning; it stands behind a ~, as in resnet50d_mixup~finetune+{}",
    "finetune": "pretraining; it stands before the ~, as in resnet50d_mixup+{}~finetune",
}


@dataclass(frozen=True, kw_only=True)
class Registry:
    """recipes and cards are those of `classification.recipes`, to which a user's file adds."""

    stage: Literal["pretraining", "finetune"]
    recipes: dict[str, Recipe]
    cards: dict[str, RecipeCard]

    @property
    def title(self) -> str:
        """What one of its recipes is called within a sentence."""
        return _TITLES[self.stage]

    def check(self, name: str, recipe: Recipe) -> None:
        """Raises ValueError where a trick of the recipe is one of the other stage alone."""
        for trick in recipe.tricks:
            if trick.stage not in ("any", self.stage):
                instead = _INSTEAD[self.stage].format(trick.name)
                raise ValueError(f"{name}: {trick.name} is a trick of {instead}")
