"""Random resized crop: a part of the image of random area and shape fills the view."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    import numpy as np

    from classification.recipe import Recipe


def random_crop_box(
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a crop with random area and log-uniform aspect ratio.

    The law of torchvision's RandomResizedCrop: ten tries, then the largest central crop whose
    aspect ratio is allowed.
    """
    log_low, log_high = math.log(aspect_ratio[0]), math.log(aspect_ratio[1])
    for _ in range(10):
        target = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(log_low, log_high))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(0, height - h + 1))
            left = int(rng.integers(0, width - w + 1))
            return top, left, h, w
    ratio = min(max(width / height, aspect_ratio[0]), aspect_ratio[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class RandomResizedCrop(Trick):
    """area: share of the image, uniform between the two. aspect_ratio: width over height.

    interpolation: "bilinear" or "bicubic", whose kernels grow where the image shrinks, as Pillow's;
    timm's recipes take the latter.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    name = "random_resized_crop"
    kind = "augmentation"
    alternatives = "crop"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Szegedy et al. 2015, arXiv:1409.4842)",
        section="section 2.1, step 2",
        effect="part of the baseline; its own effect is not reported",
    )

    def __post_init__(self) -> None:
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area must be an increasing pair in (0, 1], not {self.area}")
        ratio = self.aspect_ratio
        if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1] < math.inf:
            raise ValueError(f"aspect_ratio must be an increasing positive pair, not {ratio}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"interpolation must be 'bilinear' or 'bicubic', not {self.interpolation!r}"
            )

    def apply(self, recipe: Recipe) -> Recipe:
        augmentation = replace(
            recipe.augmentation,
            area=self.area,
            aspect_ratio=self.aspect_ratio,
            interpolation=self.interpolation,
        )
        return replace(recipe, augmentation=augmentation)
