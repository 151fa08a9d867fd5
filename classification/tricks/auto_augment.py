"""AutoAugment: one of 25 learned pairs of image operations per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.image_operations import operate
from classification.operation_space import ENHANCING, GEOMETRIC, OperationSpace
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

AUTO_AUGMENT_SPACE = OperationSpace(
    operations=(
        *GEOMETRIC,
        *ENHANCING,
        "posterize",
        "solarize",
        "auto_contrast",
        "equalize",
        "invert",
    ),
    shear=0.3,
    translate_share=150 / 331,
    rotate=30,
    enhance=0.9,
    posterize=(8, 4),
)
LEVELS = 10
"""Strengths of the policy: level 0 to 9, evenly from none to full."""

IMAGENET_POLICY: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("auto_contrast", 0.6, 5)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
    (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
    (("color", 0.4, 0), ("equalize", 0.6, 3)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("auto_contrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
)
"""The policy found on reduced ImageNet: 25 pairs of (operation, probability, level).

As the paper prints it, with the levels of operations that have no number.
"""


def auto_augment(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One pair of the policy, each of its two operations with its probability.

    view: (H, W, 3) RGB uint8; the result too. The operations go as far as torchvision's.
    """
    for name, probability, level in IMAGENET_POLICY[rng.integers(len(IMAGENET_POLICY))]:
        sign = 1 if rng.random() < 0.5 else -1
        if rng.random() < probability:
            argument = AUTO_AUGMENT_SPACE.argument(
                name,
                level / (LEVELS - 1),
                sign=sign,
                height=view.shape[0],
                width=view.shape[1],
            )
            view = operate(view, name, argument)
    return view


@dataclass(frozen=True)
class AutoAugment(Trick):
    """The ImageNet policy, in place of colour noise of one's own choice."""

    name = "auto_augment"
    kind = "augmentation"
    alternatives = "augmentation_policy"
    card = Card(
        paper="Cubuk et al. 2019, arXiv:1805.09501",
        section="section 4 and appendix, the ImageNet policy",
        effect="76.3 to 77.6 for ResNet-50",
    )

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return auto_augment(view, rng)
