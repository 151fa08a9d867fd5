"""Random crop: a square of one size at a random place, so that objects keep size and shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class RandomCrop(Trick):
    """fraction: side of the crop, as a share of the image's shorter side. padding: the crop may
    reach beyond the image by this share of the shorter side, and shows its reflection there.
    """

    fraction: float = 0.875
    padding: float = 0.0

    name = "random_crop"
    kind = "augmentation"
    alternatives = "crop"
    card = Card(
        paper="Krizhevsky et al. 2012",
        section="section 4.1",
        effect="without it its networks overfit substantially; no number is given",
    )

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], not {self.fraction}")
        if not 0 <= self.padding < self.fraction / 2:
            raise ValueError(
                f"padding must lie in [0, fraction / 2), not {self.padding}: more of a crop would "
                "lie beyond the image than in it"
            )

    def crop_box(
        self, rng: np.random.Generator, *, height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        shorter = min(height, width)
        side = max(1, round(self.fraction * shorter))
        beyond = min(round(self.padding * shorter), side - 1)
        top = int(rng.integers(-beyond, height + beyond - side + 1))
        left = int(rng.integers(-beyond, width + beyond - side + 1))
        return top, left, side, side
