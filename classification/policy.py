"""Augmentation policies of Fast AutoAugment: sub-policies of operations with their chances.

Lim et al. 2019, arXiv:1905.00397, section 3.1. How far the operations go is what the authors'
published code says, where it says more than the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from classification.image_operations import MEAN_COLOR, operate
from classification.operation_space import ENHANCING, GEOMETRIC, OperationSpace

if TYPE_CHECKING:
    import numpy as np

Step = tuple[str, float, float]
"""An operation, its probability, and its level in [0, 1]."""
SubPolicy = tuple[Step, ...]
"""Steps that are done one after the other."""
Policy = tuple[SubPolicy, ...]
"""Of which one is drawn for each view."""

POLICY_SPACE = OperationSpace(
    operations=(
        *GEOMETRIC,
        *ENHANCING,
        "posterize",
        "solarize",
        "auto_contrast",
        "equalize",
        "invert",
        "cutout",
    ),
    shear=0.3,
    translate_share=0.45,
    rotate=30,
    enhance=0.9,
    posterize=(8, 4),
)
CUTOUT_SHARE = 0.2
"""Side of the blanked square at level 1, of the view's width."""


def strength_of(name: str, level: float, *, height: int, width: int, sign: int = 1) -> float | None:
    """The number of an operation other than cutout at a level in [0, 1]; None where it has none.

    Levels run from one end of an operation's range to the other: at 0.5 what has two directions
    does nothing. sign: 1 or -1, drawn for shears, translations and rotations.
    """
    if name == "posterize":
        most, least = POLICY_SPACE.posterize
        return int(least + (most - least) * level)
    if name == "solarize":
        return 256 * level
    side = 1 if level >= 0.5 else -1
    return POLICY_SPACE.argument(
        name,
        abs(2 * level - 1),
        sign=side * sign if name in GEOMETRIC else side,
        height=height,
        width=width,
    )


def blank_square(view: np.ndarray, *, length: int, center: tuple[int, int]) -> np.ndarray:
    """The view with a square in the mean colour; center: row and column. What lies outside is lost.

    view: (H, W, 3) RGB uint8; it is not changed.
    """
    top, left = (max(0, place - length // 2) for place in center)
    bottom, right = (max(0, place - length // 2 + length) for place in center)
    blanked = view.copy()
    blanked[top:bottom, left:right] = MEAN_COLOR
    return blanked


def apply_sub_policy(
    view: np.ndarray, sub_policy: SubPolicy, rng: np.random.Generator
) -> np.ndarray:
    """Each step with its probability. view: (H, W, 3) RGB uint8, which is not changed."""
    height, width = view.shape[:2]
    for name, probability, level in sub_policy:
        if rng.random() >= probability:
            continue
        if name == "cutout":
            center = (int(rng.integers(height)), int(rng.integers(width)))
            view = blank_square(view, length=round(CUTOUT_SHARE * level * width), center=center)
            continue
        sign = 1
        if name in GEOMETRIC and rng.random() < 0.5:
            sign = -1
        view = operate(view, name, strength_of(name, level, height=height, width=width, sign=sign))
    return view


def apply_policy(view: np.ndarray, policy: Policy, rng: np.random.Generator) -> np.ndarray:
    """One sub-policy of the policy, each as likely as the other."""
    return apply_sub_policy(view, policy[rng.integers(len(policy))], rng)


def expected_uses(policy: Sequence[SubPolicy]) -> dict[str, float]:
    """How often each operation is done to a view on average, the most frequent first."""
    uses: dict[str, float] = {}
    for sub_policy in policy:
        for name, probability, _ in sub_policy:
            uses[name] = uses.get(name, 0.0) + probability / len(policy)
    return dict(sorted(uses.items(), key=lambda item: (-item[1], item[0])))
