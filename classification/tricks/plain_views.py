"""Plain views: each image is shown the same way in every epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

    from classification.recipe import Recipe


@dataclass(frozen=True)
class PlainViews(Trick):
    """The largest central square, without flips, noise of colour and light.

    With `HeadOnly` the features of an image are computed once. What other tricks do to views comes
    after it.
    """

    name = "plain_views"
    kind = "fine_tuning"
    card = Card(
        paper="Chollet 2021, Deep Learning with Python, 2nd edition",
        section="section 8.3.1, fast feature extraction without data augmentation",
        effect="not reported as ImageNet top-1; overfits sooner than with augmentation, and costs "
        "one pass over the images where the backbone is frozen",
        conflicts=("random_resized_crop", "color_scaling", "pca_lighting"),
    )

    def apply(self, recipe: Recipe) -> Recipe:
        plain = replace(recipe.augmentation, flip_probability=0.0, color=0.0, lighting_std=0.0)
        return replace(recipe, augmentation=plain)

    def crop_box(
        self, rng: np.random.Generator, *, height: int, width: int
    ) -> tuple[int, int, int, int]:
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side
