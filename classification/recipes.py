"""The rows of He et al. 2019, Table 6, one line each, and the grammar `<architecture>_<recipe>`.

Command: `python classification/pretrain.py --backbone resnet50d_mixup --benchmark paper`.
The paper's ImageNet top-1 for ResNet-50-D (CVPR version, mean of 4 runs) stands beside each recipe;
none of them has been measured by this project at that scale.
"""

from __future__ import annotations

from backbones.catalog import ARCHITECTURES, UnknownNameError, check_architecture, nearest
from classification.recipe import Recipe
from classification.tricks import (
    CosineDecay,
    Distillation,
    Epochs,
    HalfPrecision,
    LabelSmoothing,
    LargeBatch,
    Mixup,
    NoBiasDecay,
    Warmup,
    ZeroGamma,
)

standard = Recipe()  # 76.14 for ResNet-50-B (Table 8)
efficient = (
    standard | LargeBatch(1024) | Warmup(epochs=5) | ZeroGamma() | NoBiasDecay() | HalfPrecision()
)  # 77.26
cosine = efficient | CosineDecay()  # 77.73
smooth = cosine | LabelSmoothing(0.1)  # 78.37
distill = smooth | Distillation(teacher="resnet152d_smooth", temperature=20)  # 78.63
mixup = smooth | Mixup(alpha=0.2) | Epochs(200)  # 79.01
mixup_distill = mixup | Distillation(teacher="resnet152d_mixup", temperature=20)  # 79.33

RECIPES: dict[str, Recipe] = {
    "standard": standard,
    "efficient": efficient,
    "cosine": cosine,
    "smooth": smooth,
    "distill": distill,
    "mixup": mixup,
    "mixup_distill": mixup_distill,
}


def parse_backbone(name: str) -> tuple[str, str]:
    """`resnet50d_mixup_distill` -> ("resnet50d", "mixup_distill").

    Raises UnknownNameError with the nearest names where the architecture or the recipe is unknown.
    """
    for architecture in sorted(ARCHITECTURES, key=len, reverse=True):
        recipe = name.removeprefix(f"{architecture}_")
        if recipe != name:
            if recipe in RECIPES:
                return architecture, recipe
            raise UnknownNameError(
                f"unknown recipe {recipe!r} in {name!r}; nearest: "
                f"{', '.join(nearest(recipe, RECIPES))}; all: {', '.join(RECIPES)}"
            )
    architecture, separator, recipe = name.partition("_")
    known = [f"{a}_{r}" for a in ARCHITECTURES for r in RECIPES]
    if separator and recipe in RECIPES:
        check_architecture(architecture)
    raise UnknownNameError(
        f"unknown backbone {name!r}: expected <architecture>_<recipe>; nearest: "
        f"{', '.join(nearest(name, known))}"
    )
