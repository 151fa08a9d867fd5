"""The page of all recipes: what each is made of, where from, what to expect, how to run it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from classification.recipe import Recipe
from classification.recipes import (
    bag_of_tricks,
    fine_tuning,
    label_noise,
    resnet_strikes_back,
    solving_imagenet,
)
from classification.recipes.card import RecipeCard
from classification.tricks.trick import Trick
from docs.markdown import GENERATED, anchor, escape, link_papers, table

PAGE = Path("docs/recipes.md")
CHAPTERS: dict[str, ModuleType] = {
    "Bag of Tricks": bag_of_tricks,
    "Solving ImageNet": solving_imagenet,
    "ResNet strikes back": resnet_strikes_back,
    "Label noise": label_noise,
}
FINE_TUNING = "Fine-tuning on one's own images"
_TUNING = "trickle run --backbone timm:resnet50~{} --benchmark FILE.toml --tasks finetune"
_LADDER = re.compile(r"ladder(\d+)_(\w+)")


def recipe_page() -> str:
    """Raises ValueError for a recipe without a card."""
    parts = [
        GENERATED,
        "# Recipes",
        "A backbone is named `<architecture>_<recipe>`, so that `resnet50d_mixup` is ResNet-50-D "
        "under the recipe `mixup`. *Expected* is the ImageNet top-1, in percent, that the source "
        "reports; no number of the tables was measured by this project at that scale. "
        "`trickle show resnet50d_mixup` prints every number that a training will use. What the "
        "tricks do: [tricks/README.md](tricks/README.md).",
    ]
    for title, module in {**CHAPTERS, FINE_TUNING: fine_tuning}.items():
        recipes: dict[str, Recipe]
        recipes = module.FINE_TUNINGS if title == FINE_TUNING else module.RECIPES
        cards: dict[str, RecipeCard] = module.CARDS
        if missing := sorted(set(recipes) - set(cards)):
            raise ValueError(f"{module.__name__}: no RecipeCard for {', '.join(missing)}")
        file = module.__name__.replace(".", "/") + ".py"
        parts += [
            f"## {title}",
            f"[`{file}`](../{file})",
            link_papers((module.__doc__ or "").strip()),
            *([_expected(cards)] if any(card.expected for card in cards.values()) else []),
        ]
        if any(map(_LADDER.fullmatch, cards)):
            parts += ["The ladder, Table 4 of the paper:", _ladder(cards)]
        for name, recipe in recipes.items():
            parts += [f"### {name}", _recipe(name, recipe, cards[name], title == FINE_TUNING)]
    return "\n\n".join(parts) + "\n"


def _expected(cards: Mapping[str, RecipeCard]) -> str:
    """Top-1 of the source, recipes by architectures; the ladder has a table of its own."""
    plain = {name: card for name, card in cards.items() if not _LADDER.fullmatch(name)}
    columns = list(dict.fromkeys(a for card in plain.values() for a in card.expected))
    rows = [
        (
            f"[{name}](#{anchor(name)})",
            *(f"{card.expected[a]:g}" if a in card.expected else "–" for a in columns),
        )
        for name, card in plain.items()
    ]
    return table(("expected top-1", *(f"{column}:" for column in columns)), rows)


def _ladder(cards: Mapping[str, RecipeCard]) -> str:
    steps: dict[str, dict[str, RecipeCard]] = {}
    for name, card in cards.items():
        if found := _LADDER.fullmatch(name):
            steps.setdefault(found[2], {})[found[1]] = card
    sizes = list(next(iter(steps.values())))
    rows = []
    for number, (step, by_size) in enumerate(steps.items()):
        cells = [
            f"[{top1:g}](#{anchor(f'ladder{size}_{step}')})"
            for size in sizes
            for top1 in by_size[size].expected.values()
        ]
        rows.append((f"{'+ ' if number else ''}{step.replace('_', ' ')}", *cells))
    return table(("expected top-1, resnet50a", *(f"batch {size}:" for size in sizes)), rows)


def _recipe(name: str, recipe: Recipe, card: RecipeCard, tunes: bool) -> str:
    expected = ", ".join(f"{a} {top1:g}" for a, top1 in card.expected.items()) or "not reported"
    rows = [
        ("source", link_papers(escape(card.source))),
        ("tricks", " · ".join(map(_written, recipe.tricks)) or "none"),
        ("numbers", _numbers(recipe)),
        ("expected top-1", expected),
        ("measured", escape(card.measured).replace("docs/results.md", "[results.md](results.md)")),
        ("command", f"`{_TUNING.format(name) if tunes else card.command(name)}`"),
    ]
    if card.note:
        rows.append(("note", escape(card.note)))
    return table(("", ""), rows)


def _written(trick: Trick) -> str:
    knobs = ", ".join(f"{knob} {_short(value)}" for knob, value in trick.to_dict().items())
    return f"[{trick.name}](tricks/{trick.name}.md)" + (f" ({escape(knobs)})" if knobs else "")


def _numbers(recipe: Recipe) -> str:
    optimizer = recipe.optimizer
    words = [
        f"{optimizer.name}, learning rate {optimizer.learning_rate:g}, "
        f"weight decay {optimizer.weight_decay:g}",
        f"batch {recipe.batch_size}",
        f"{recipe.epochs:g} epochs",
        f"schedule [{recipe.schedule.name}](tricks/{recipe.schedule.name}.md)",
    ]
    return "; ".join(words)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_short, value))})"
    return str(value)
