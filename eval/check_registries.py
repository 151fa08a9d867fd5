"""Whether every name in our registries leads somewhere, and only there: `make check` runs this.

(That no key stands twice in one dict is ruff's F601.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from backbones.catalog import ARCHITECTURES, check_architecture
from benchmarks.packaged import PACKAGED
from benchmarks.schema import load_benchmark
from classification import tricks
from classification.identity import teacher_of
from classification.names import parse_backbone
from classification.recipe import Recipe
from classification.recipes import CARDS, FINE_TUNING, RECIPES
from classification.recipes.card import RecipeCard
from classification.tricks import TRICKS, Trick

# Files of classification/tricks/ that are no trick.
_NO_TRICKS = {"__init__", "trick", "schedule", "examples"}
# Rows of two tables that are the same training: pretrained once.
TWINS = {
    "ladder256_linear_scaling": "standard",
    "ladder1024_half_precision": "efficient",
}


def trick_problems(registry: Mapping[str, type[Trick]], files: Iterable[str]) -> list[str]:
    """A trick is one file and one line: same names, each once, conflicts that exist."""
    problems = []
    for name, trick in registry.items():
        if trick.name != name:
            problems.append(f"trick {name!r} calls itself {trick.name!r}")
        home = trick.__module__.rpartition(".")[2]
        if home != name:
            problems.append(f"trick {name!r} lives in {home}.py, not in {name}.py")
        dangling = sorted(set(trick.card.conflicts) - set(registry))
        if dangling:
            problems.append(f"trick {name!r} conflicts with unknown {', '.join(dangling)}")
    problems += [
        f"classification/tricks/{file}.py is not in TRICKS"
        for file in sorted(set(files) - set(registry) - _NO_TRICKS)
    ]
    return problems


def recipe_problems(
    recipes: Mapping[str, Recipe],
    registry: Mapping[str, type[Trick]],
    cards: Mapping[str, RecipeCard] = CARDS,
) -> list[str]:
    """Recipes differ from each other, use registered tricks, and their teachers can be trained."""
    problems = []
    seen: dict[str, str] = {}
    for name, recipe in recipes.items():
        twin = seen.setdefault(recipe.digest(), name)
        if twin != name and TWINS.get(name) != twin:
            problems.append(f"recipes {twin!r} and {name!r} are the same")
        if name not in cards:
            problems.append(f"recipe {name!r} has no card")
        unknown = [t.name for t in recipe.tricks if registry.get(t.name) is not type(t)]
        if unknown:
            problems.append(f"recipe {name!r} uses unregistered {', '.join(unknown)}")
        if recipe.distillation is not None:
            try:
                parse_backbone(recipe.distillation.teacher)
            except ValueError as error:
                problems.append(f"the teacher of recipe {name!r}: {error}")
    return problems


def name_problems() -> list[str]:
    """Architectures and benchmarks are named once and can be read; no two names are confused."""
    problems = []
    if len(set(ARCHITECTURES)) != len(ARCHITECTURES):
        problems.append("an architecture is named twice")
    for architecture in ARCHITECTURES:
        check_architecture(architecture)
        for recipe in RECIPES:
            name = f"{architecture}_{recipe}"
            if parse_backbone(name) != (architecture, recipe):
                problems.append(f"{name!r} is read as {parse_backbone(name)}")
            teacher_of(name)
    for benchmark in PACKAGED:
        if load_benchmark(benchmark).name != benchmark:
            problems.append(f"benchmark {benchmark!r} calls itself by another name")
    return problems


def main() -> int:
    files = [path.stem for path in Path(tricks.__file__).parent.glob("*.py")]
    problems = [
        *trick_problems(TRICKS, files),
        *recipe_problems(RECIPES, TRICKS),
        *recipe_problems(FINE_TUNING.recipes, TRICKS, FINE_TUNING.cards),
        *name_problems(),
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(
            f"registries: {len(ARCHITECTURES)} architectures, {len(RECIPES)} recipes, "
            f"{len(FINE_TUNING.recipes)} of fine-tuning, {len(TRICKS)} tricks, "
            f"{len(PACKAGED)} benchmarks"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
