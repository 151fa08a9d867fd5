"""The user's own tricks and recipes, from a Python file of theirs.

    # mine.py
    from classification.recipes import RECIPES as ours
    from classification.tricks import CutMix, Mixup

    RECIPES = {"cutmix": ours["mixup"] - Mixup | CutMix(1.0)}

    trickle run --recipes mine.py --backbone resnet50d_cutmix

FINE_TUNINGS, in place of RECIPES or beside it, holds recipes of fine-tuning, which stand behind a
`~`: FINE_TUNINGS = {"mixed": FINE_TUNINGS["finetune"] | Mixup(0.2)}, with ours imported as above.

The file may define tricks as well (subclasses of `classification.tricks.trick.Trick`). Its code is
run: give only a file that you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from classification.recipe import Recipe
from classification.recipes import FINE_TUNING, PRETRAINING
from classification.recipes.card import RecipeCard
from classification.recipes.registry import Registry
from classification.tricks import TRICKS
from classification.tricks.trick import KINDS, Card, Trick

MODULE = "user_recipes"
"""What the file's module is called while Trickle runs."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
_REGISTRIES: dict[str, Registry] = {"RECIPES": PRETRAINING, "FINE_TUNINGS": FINE_TUNING}
_loaded: list[Path] = []


class RecipeFileError(ValueError):
    """A file of recipes that is missing, fails, or defines what cannot be used."""


def load_user_file(path: str | Path) -> None:
    """Adds the file's RECIPES, FINE_TUNINGS and tricks to ours, for this process; a second time
    does nothing.

    Raises RecipeFileError, and adds nothing then.
    """
    path = Path(path).expanduser().absolute()
    if path in _loaded:
        return
    if _loaded:
        raise RecipeFileError(f"one file of recipes at a time: {_loaded[0]} and {path}")
    if not path.is_file():
        raise RecipeFileError(f"no file of recipes at {path}")
    module = _run(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tricks = [value for value in vars(module).values() if _is_own_trick(value)]
    found = {name: getattr(module, name, None) for name in _REGISTRIES}
    given = {name: recipes for name, recipes in found.items() if recipes is not None}
    if not given or not all(isinstance(recipes, dict) and recipes for recipes in given.values()):
        name = next(iter(given), "RECIPES")
        raise RecipeFileError(
            f'{path} defines no {name}: expected a dictionary, {name} = {{"name": recipe}}'
        )
    for trick in tricks:
        _check_trick(path, trick)
    for dictionary, recipes in given.items():
        for name, recipe in recipes.items():
            _check_recipe(path, dictionary, name, recipe)
    for trick in tricks:
        trick.source_digest = digest
        TRICKS[trick.name] = trick
    for dictionary, recipes in given.items():
        registry = _REGISTRIES[dictionary]
        registry.recipes.update(recipes)
        card = RecipeCard(source=f"the file {path.name}")
        registry.cards.update(dict.fromkeys(recipes, card))
    _loaded.append(path)


def user_file() -> Path | None:
    """The file that was loaded, for the processes that this one starts."""
    return _loaded[0] if _loaded else None


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise RecipeFileError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise RecipeFileError(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = f", line {frames[-1].lineno}" if frames else ""
        raise RecipeFileError(f"{path}{line}: {type(error).__name__}: {error}") from error
    return module


def _is_own_trick(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Trick) and value.__module__ == MODULE


def _check_trick(path: Path, trick: type[Trick]) -> None:
    name, card = getattr(trick, "name", None), getattr(trick, "card", None)
    kind = getattr(trick, "kind", None)
    if not isinstance(name, str) or not isinstance(card, Card) or kind not in KINDS:
        raise RecipeFileError(
            f"{path}: the trick {trick.__name__} needs a name, a card = Card(...) and a kind, one "
            f"of {', '.join(KINDS)}"
        )
    if not _NAME.fullmatch(name) or name == "all":  # which stands for all tricks of a recipe
        raise RecipeFileError(
            f"{path}: {name!r} cannot name a trick; expected lower-case letters, digits and _, and "
            "not all"
        )
    if name in TRICKS:
        raise RecipeFileError(f"{path}: there is a trick {name!r} already; name yours otherwise")


def _check_recipe(path: Path, dictionary: str, name: object, recipe: object) -> None:
    registry = _REGISTRIES[dictionary]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecipeFileError(
            f"{path}: {name!r} cannot name a recipe; expected lower-case letters, digits and _"
        )
    if name in registry.recipes:
        raise RecipeFileError(
            f"{path}: there is a {registry.title} {name!r} already; name yours otherwise"
        )
    if not isinstance(recipe, Recipe):
        raise RecipeFileError(f"{path}: {dictionary}[{name!r}] is {recipe!r}, not a Recipe")
    try:
        registry.check(name, recipe)
        recipe.schedule.check(epochs=recipe.epochs)
        json.dumps(recipe.to_dict(), allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RecipeFileError(f"{path}: recipe {name!r}: {error}") from error
