"""RandAugment: random image operations, all of one magnitude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from classification.image_operations import operate
from classification.operation_space import ENHANCING, GEOMETRIC, PARAMETERLESS
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

_COMMON = ("auto_contrast", "equalize", "posterize", "solarize", *ENHANCING, *GEOMETRIC)
RAND_AUGMENT_OPERATIONS = {
    "timm": (*_COMMON, "invert", "solarize_add"),
    "paper": (*_COMMON, "identity"),
}
"""timm's fifteen; and the paper's fourteen (section 3)."""


def operation_argument(
    name: str, magnitude: float, *, increasing: bool, sign: int, height: int, width: int
) -> float | None:
    """The number that `operate` takes for an operation; None where it takes none.

    magnitude: in [0, 10]. increasing: posterize, solarize, brightness and its like grow with the
    magnitude, from no change; if not, they run through their range from one end to the other, and
    posterize and solarize do most at 0. sign: 1 or -1, the direction of what has two. height,
    width: of the image, in pixels. timm's law (timm.data.auto_augment, LEVEL_TO_ARG).
    """
    if name in PARAMETERLESS:
        return None
    share = magnitude / 10
    if name == "rotate":
        return sign * share * 30
    if name in ("shear_x", "shear_y"):
        return sign * share * 0.3
    if name in ("translate_x", "translate_y"):
        return sign * share * 0.45 * (width if name == "translate_x" else height)
    if name in ENHANCING:
        return max(0.1, 1 + sign * share * 0.9) if increasing else share * 1.8 + 0.1
    if name == "posterize":
        bits = int(share * 4)
        return 4 - bits if increasing else bits
    if name == "solarize":
        threshold = min(256, int(share * 256))
        return 256 - threshold if increasing else threshold
    assert name == "solarize_add", name
    return min(128, int(share * 110))


def rand_augment(
    view: np.ndarray,
    rng: np.random.Generator,
    *,
    num_ops: int,
    magnitude: float,
    magnitude_std: float,
    probability: float,
    increasing: bool,
    operations: tuple[str, ...],
) -> np.ndarray:
    """`num_ops` operations in turn, drawn with replacement, each done with `probability`.

    view: (H, W, 3) RGB uint8; the result too. magnitude_std: of the normal law of each
    operation's magnitude, which is then cut to [0, 10].
    """
    for index in rng.integers(len(operations), size=num_ops):
        if rng.random() >= probability:
            continue
        level = rng.normal(magnitude, magnitude_std) if magnitude_std else magnitude
        argument = operation_argument(
            operations[index],
            min(10.0, max(0.0, level)),
            increasing=increasing,
            sign=1 if rng.random() < 0.5 else -1,
            height=view.shape[0],
            width=view.shape[1],
        )
        view = operate(view, operations[index], argument)
    return view


@dataclass(frozen=True)
class RandAugment(Trick):
    """timm's law: `RandAugment(magnitude=7, magnitude_std=0.5)` is its rand-m7-mstd0.5-inc1.

    num_ops: operations per image. magnitude: of 10. magnitude_std: of the magnitude of each
    operation. probability: of each operation; the paper's is 1. increasing: all operations grow
    with the magnitude. operations: "timm" or "paper", which has identity where timm has invert and
    solarize_add. Interpolation is bilinear, where timm draws bilinear or bicubic if told nothing.
    """

    num_ops: int = 2
    magnitude: float = 9.0
    magnitude_std: float = 0.0
    probability: float = 0.5
    increasing: bool = True
    operations: Literal["timm", "paper"] = "timm"

    name = "rand_augment"
    kind = "augmentation"
    alternatives = "augmentation_policy"
    card = Card(
        paper="Cubuk et al. 2020, arXiv:1909.13719",
        section="section 3, Figure 2",
        effect="76.3 to 77.6 for ResNet-50",
    )

    def __post_init__(self) -> None:
        if self.num_ops < 1:
            raise ValueError(f"num_ops must be at least 1, not {self.num_ops}")
        if not 0 <= self.magnitude <= 10:
            raise ValueError(f"magnitude must lie in [0, 10], not {self.magnitude}")
        if not 0 <= self.magnitude_std < math.inf:
            raise ValueError(
                f"magnitude_std must be a number of at least 0, not {self.magnitude_std}"
            )
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], not {self.probability}")
        if self.operations not in RAND_AUGMENT_OPERATIONS:
            names = " or ".join(repr(name) for name in RAND_AUGMENT_OPERATIONS)
            raise ValueError(f"operations must be {names}, not {self.operations!r}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rand_augment(
            view,
            rng,
            num_ops=self.num_ops,
            magnitude=self.magnitude,
            magnitude_std=self.magnitude_std,
            probability=self.probability,
            increasing=self.increasing,
            operations=RAND_AUGMENT_OPERATIONS[self.operations],
        )
