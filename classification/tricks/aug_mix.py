"""AugMix: the image, mixed with several chains of operations on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.image_operations import operate
from classification.operation_space import ENHANCING, GEOMETRIC, OperationSpace
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

AUG_MIX_SPACE = OperationSpace(
    operations=(*GEOMETRIC, "posterize", "solarize", "auto_contrast", "equalize"),
    shear=0.3,
    translate_share=1 / 3,
    rotate=30,
    enhance=0.9,
    posterize=(4, 0),
)
LEVELS = 10
"""Strengths: level 0 to 9, evenly from none to full; severity s draws from the first s."""


def mix_chains(
    view: np.ndarray, chains: Sequence[np.ndarray], *, weights: Sequence[float], share: float
) -> np.ndarray:
    """share x view + (1 - share) x sum of weight x chain, rounded.

    view and each chain: (H, W, 3) uint8; the result too. weights: one per chain, summing to 1;
    share: in [0, 1]. Section 3 of Hendrycks et al. 2020.
    """
    import cv2
    import numpy as np

    # A running weighted mean: OpenCV's is far faster than the sum of products in numpy.
    mixed = view.astype(np.float32)
    total = share
    for chain, weight in zip(chains, weights, strict=True):
        part = (1 - share) * weight
        if part > 0:
            total += part
            cv2.accumulateWeighted(chain, mixed, part / total)
    rounded: np.ndarray = cv2.convertScaleAbs(mixed)
    return rounded


def aug_mix(
    view: np.ndarray,
    rng: np.random.Generator,
    *,
    severity: int,
    width: int,
    depth: int,
    alpha: float,
    operations: tuple[str, ...],
) -> np.ndarray:
    """`width` chains of `depth` operations each (1 to 3 where it is -1), mixed with the image.

    view: (H, W, 3) RGB uint8; the result too. The chains' weights are drawn from
    Dirichlet(alpha, ..., alpha), the image's share from Beta(alpha, alpha).
    """
    weights = rng.dirichlet([alpha] * width)
    share = float(rng.beta(alpha, alpha))
    chains = []
    for _ in range(width):
        chain = view
        length = depth if depth > 0 else rng.integers(1, 4)
        for index in rng.integers(len(operations), size=length):
            argument = AUG_MIX_SPACE.argument(
                operations[index],
                float(rng.integers(severity)) / (LEVELS - 1),
                sign=1 if rng.random() < 0.5 else -1,
                height=view.shape[0],
                width=view.shape[1],
            )
            chain = operate(chain, operations[index], argument)
        chains.append(chain)
    return mix_chains(view, chains, weights=weights.tolist(), share=share)


@dataclass(frozen=True)
class AugMix(Trick):
    """severity: strengths of the operations, 1 to 10. width: chains. depth: operations in a chain;
    -1: one to three. alpha: of the Dirichlet and Beta laws of the mixing. all_operations: also
    brightness, colour, contrast and sharpness, which the paper leaves out since the corruptions of
    ImageNet-C have them.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0
    all_operations: bool = False

    name = "aug_mix"
    kind = "augmentation"
    alternatives = "augmentation_policy"
    card = Card(
        paper="Hendrycks et al. 2020, arXiv:1912.02781",
        section="section 3, Algorithm 1, without the Jensen-Shannon loss",
        effect="77.53 for ResNet-50 (authors' weights), with that loss, which is not part of this",
    )

    def __post_init__(self) -> None:
        if not 1 <= self.severity <= LEVELS:
            raise ValueError(f"severity must lie in [1, {LEVELS}], not {self.severity}")
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")
        if self.depth != -1 and self.depth < 1:
            raise ValueError(f"depth must be at least 1, or -1 for 1 to 3, not {self.depth}")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be positive, not {self.alpha}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return aug_mix(
            view,
            rng,
            severity=self.severity,
            width=self.width,
            depth=self.depth,
            alpha=self.alpha,
            operations=AUG_MIX_SPACE.operations + (ENHANCING if self.all_operations else ()),
        )
