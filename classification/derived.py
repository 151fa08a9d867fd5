"""Recipes that are derived from a named one, and how they are written: `mixup-warmup`.

    mixup_distill-warmup           the recipe without a trick; several: -warmup-epochs
    standard+zero_gamma            the recipe and one trick more, with the trick's default knobs
    mixup_distill-all+mixup        -all takes every trick away; what comes back by + has the knobs,
                                   and the place among the others, that it has in the recipe

Signs are read from left to right. The names stand wherever a recipe's does, in `--backbone` as in a
distillation's teacher; those of fine-tuning (`registry=FINE_TUNING`) behind a `~`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from backbones.catalog import UnknownNameError, nearest
from classification.recipe import Recipe
from classification.recipes import PRETRAINING, RECIPES
from classification.recipes.card import NOT_MEASURED, RecipeCard
from classification.recipes.registry import Registry
from classification.tricks import TRICKS, Trick

ALL = "all"
"""In the place of a trick: every one that the recipe has."""

_CHANGE = re.compile(r"([-+])([a-z0-9_]+)")
_CHANGES = re.compile(r"(?:[-+][a-z0-9_]+)+")


def find_recipe(name: str, registry: Registry = PRETRAINING) -> Recipe:
    """The recipe of that name, registered or derived.

    Raises UnknownNameError for a name or trick that is not there, ValueError for a recipe that
    contradicts itself, or with a trick that the registry's stage does not have.
    """
    head, changes = split_changes(name)
    if head not in registry.recipes:
        near = ", ".join(nearest(head, registry.recipes))
        known = near or ", ".join(registry.recipes)
        raise UnknownNameError(f"unknown {registry.title} {head!r}; nearest: {known or 'none'}")
    source = registry.recipes[head]
    if not changes:
        return source
    kept, added = list(source.trick_names), list[str]()
    for sign, trick in changes:
        present = [*kept, *added]
        if sign == "-" and trick == ALL:
            kept, added = [], []
        elif sign == "-" and trick in present:
            (kept if trick in kept else added).remove(trick)
        elif sign == "-":
            raise UnknownNameError(
                f"{name}: no {trick} to take away; there is {', '.join(present) or 'no trick'}"
            )
        elif trick in present:
            raise ValueError(f"{name}: {trick} is there already; write it once")
        elif trick in source.trick_names:
            kept.append(trick)
        else:
            added.append(trick)
    recipe = source.only(kept)
    for trick in added:
        recipe = recipe | _with_defaults(name, trick)
    registry.check(name, recipe)
    return recipe


def _with_defaults(name: str, trick: str) -> Trick:
    if trick not in TRICKS:
        known = ", ".join(nearest(trick, TRICKS)) or "see trickle list"
        raise UnknownNameError(f"{name}: unknown trick {trick!r}; nearest: {known}")
    needed = [knob for knob, value in TRICKS[trick].knobs().items() if value == "required"]
    if needed:
        raise ValueError(
            f"{name}: {trick} has no default for {', '.join(needed)}; name a recipe that has the "
            "trick and take others away, or write one in a file of your own (--recipes FILE.py)"
        )
    return TRICKS[trick]()


def split_changes(name: str) -> tuple[str, list[tuple[str, str]]]:
    """`mixup-warmup+ema` -> ("mixup", [("-", "warmup"), ("+", "ema")])."""
    head = re.split(r"[-+]", name, maxsplit=1)[0]
    tail = name.removeprefix(head)
    if tail and not _CHANGES.fullmatch(tail):
        raise UnknownNameError(
            f"unknown recipe {name!r}: expected a recipe, and after it -trick or +trick"
        )
    return head, [(match[1], match[2]) for match in _CHANGE.finditer(tail)]


def split_backbone(name: str) -> tuple[str, str] | None:
    """(architecture, recipe) of a name that ends in a known recipe and changes of it.

    The longest recipe counts. Whether the changes can be made is for `find_recipe` to say.
    """
    ends = [len(name), *(match.start() for match in re.finditer(r"[-+]", name))]
    for end in ends:
        head, tail = name[:end], name[end:]
        # What follows an @ is a file, whose name may hold anything.
        if tail and ("@" in head or not _CHANGES.fullmatch(tail)):
            continue
        for recipe in sorted(RECIPES, key=len, reverse=True):
            architecture = head.removesuffix(f"_{recipe}")
            if architecture not in (head, ""):
                return architecture, recipe + tail
    return None


def registered_name(name: str, registry: Registry = PRETRAINING) -> str:
    """The name under which a recipe is registered; of one that is not, the name as given."""
    if name in registry.recipes:
        return name
    recipe = find_recipe(name, registry)
    tricks = set(recipe.trick_names)
    for known, other in registry.recipes.items():
        if set(other.trick_names) == tricks and other == recipe:
            return known
    return name


def name_with_only(name: str, tricks: Collection[str], registry: Registry = PRETRAINING) -> str:
    """The shortest name of the recipe `name` with only these of its tricks.

    The fewest signs, and a registered one has none; where several have as few, this recipe's own.
    Raises ValueError where the rest contradicts itself.
    """
    recipe = find_recipe(name, registry)
    wanted = recipe.only(tricks)
    texts = [name + _changes(recipe, wanted)]
    texts += [known + _changes(other, wanted) for known, other in registry.recipes.items()]
    texts.append(f"{name}-{ALL}" + "".join(f"+{trick}" for trick in wanted.trick_names))
    for text in sorted(texts, key=lambda text: len(split_changes(text)[1])):
        if _reads_as(text, wanted, registry):
            return registered_name(text, registry)
    raise AssertionError("the last one says of each trick that it is there")


def _changes(recipe: Recipe, wanted: Recipe) -> str:
    here, there = recipe.trick_names, wanted.trick_names
    removed = "".join(f"-{trick}" for trick in here if trick not in there)
    return removed + "".join(f"+{trick}" for trick in there if trick not in here)


def _reads_as(name: str, wanted: Recipe, registry: Registry) -> bool:
    try:
        return find_recipe(name, registry) == wanted
    except ValueError:  # a knob without a default
        return False


def find_card(name: str, registry: Registry = PRETRAINING) -> RecipeCard:
    """What is said of a recipe; of a derived one, which it comes from."""
    cards = registry.cards
    if (known := registered_name(name, registry)) in cards:
        return cards[known]
    head, changes = split_changes(name)
    words = {"-": "without", "+": "with"}
    said = ", ".join(f"{words[sign]} {trick}" for sign, trick in changes)
    return RecipeCard(source=f"{head} ({cards[head].source}), {said}", measured=NOT_MEASURED)
