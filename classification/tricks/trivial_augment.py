"""TrivialAugment: one random image operation of random strength per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.image_operations import operate
from classification.operation_space import ENHANCING, GEOMETRIC, OperationSpace
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

WIDE_SPACE = OperationSpace(
    operations=(
        "identity",
        *GEOMETRIC,
        *ENHANCING,
        "posterize",
        "solarize",
        "auto_contrast",
        "equalize",
    ),
    shear=0.99,
    translate_pixels=32,
    rotate=135,
    enhance=0.99,
    posterize=(8, 2),
)
LEVELS = 31
"""Strengths: level 0 to 30, evenly from none to full."""


def trivial_augment(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One operation of the wide space, its level and its direction, all three uniform.

    view: (H, W, 3) RGB uint8; the result too. A translation goes up to 32 pixels at any size of
    the image, as in the paper.
    """
    name = WIDE_SPACE.operations[rng.integers(len(WIDE_SPACE.operations))]
    strength = float(rng.integers(LEVELS)) / (LEVELS - 1)
    sign = 1 if rng.random() < 0.5 else -1
    height, width = view.shape[:2]
    argument = WIDE_SPACE.argument(name, strength, sign=sign, height=height, width=width)
    return operate(view, name, argument)


@dataclass(frozen=True)
class TrivialAugment(Trick):
    """TrivialAugmentWide: there is nothing to tune."""

    name = "trivial_augment"
    kind = "augmentation"
    alternatives = "augmentation_policy"
    card = Card(
        paper="Müller and Hutter 2021, arXiv:2103.10158",
        section="section 3, Algorithm 1",
        effect="78.07 for ResNet-50 with the wide space",
    )

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return trivial_augment(view, rng)
