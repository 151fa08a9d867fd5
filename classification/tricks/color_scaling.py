"""Colour scaling: hue, saturation and brightness, each times a random factor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    import numpy as np

    from classification.recipe import Recipe


def scale_colors(
    image: np.ndarray, *, hue: float, saturation: float, brightness: float
) -> np.ndarray:
    """Hue, saturation and brightness (HSV), each times its factor; hue wraps, the others clip.

    image: (H, W, 3) RGB uint8; the result too.
    """
    import cv2
    import numpy as np

    # OpenCV's 8-bit "full" HSV keeps hue in 0..255, a full turn in 256 steps: tables suffice.
    steps = np.arange(256, dtype=np.float32)
    table = np.empty((256, 1, 3), np.uint8)
    table[:, 0, 0] = np.round(steps * hue).astype(np.int32) % 256
    table[:, 0, 1] = np.clip(np.round(steps * saturation), 0, 255)
    table[:, 0, 2] = np.clip(np.round(steps * brightness), 0, 255)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table)
    scaled: np.ndarray = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    return scaled


@dataclass(frozen=True)
class ColorScaling(Trick):
    """amount: each factor is uniform in [1 - amount, 1 + amount]; 0 switches the trick off."""

    amount: float = 0.4

    name = "color_scaling"
    kind = "augmentation"
    card = Card(
        paper=BAG_OF_TRICKS,
        section="section 2.1, step 4",
        equation="hue, saturation and brightness times U(1 - amount, 1 + amount)",
        effect="part of the baseline; its own effect is not reported",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.amount < 1:
            raise ValueError(f"amount must lie in [0, 1), not {self.amount}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, augmentation=replace(recipe.augmentation, color=self.amount))
