"""The grammar of a trained backbone's name: `<architecture>_<recipe>`, the recipe registered or
derived from one that is (`classification.derived`)."""

from __future__ import annotations

from collections.abc import Iterable

from backbones.catalog import ARCHITECTURES, UnknownNameError, check_architecture, nearest
from classification.derived import find_recipe, split_backbone
from classification.recipes import RECIPES


def parse_backbone(name: str) -> tuple[str, str]:
    """`resnet50d_mixup_distill` -> ("resnet50d", "mixup_distill"); `timm:levit_384_usi` likewise.

    Raises UnknownNameError with the nearest names where the architecture or the recipe is unknown.
    """
    if (found := split_recipe(name)) is not None:
        check_architecture(found[0])
        find_recipe(found[1])
        return found
    for architecture in sorted(ARCHITECTURES, key=len, reverse=True):
        recipe = name.removeprefix(f"{architecture}_")
        if recipe != name:
            raise UnknownNameError(
                f"unknown recipe {recipe!r} in {name!r}; {_near(recipe, RECIPES)}all: "
                f"{', '.join(RECIPES)}"
            )
    known = [f"{a}_{r}" for a in ARCHITECTURES for r in RECIPES]
    raise UnknownNameError(
        f"unknown backbone {name!r}: {_near(name, known)}expected <architecture>_<recipe> (see "
        f"--list), scratch:<architecture>, <architecture>@FILE, timm:<model>, torchvision:<model>, "
        f"hf:<org>/<name> or the path to an artifact"
    )


def _near(name: str, known: Iterable[str]) -> str:
    """`nearest: a, b; `, or nothing where nothing is near."""
    close = nearest(name, known)
    return f"nearest: {', '.join(close)}; " if close else ""


def split_recipe(name: str) -> tuple[str, str] | None:
    """(architecture, recipe) of a name that ends in a known recipe; the longest one counts."""
    return split_backbone(name)


def architecture_of_teacher(teacher: str) -> str:
    """Of a trained one, or timm:<model>; of an artifact its path, which no architecture bears."""
    found = split_recipe(teacher)
    return teacher.partition("@")[0] if found is None else found[0]
