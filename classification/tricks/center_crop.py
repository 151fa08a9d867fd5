"""Center crop: the middle of each image, always the same, as it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class CenterCrop(Trick):
    """fraction: side of the crop, as a share of the image's shorter side."""

    fraction: float = 0.875

    name = "center_crop"
    kind = "augmentation"
    alternatives = "crop"
    card = Card(
        paper="Krizhevsky et al. 2012",
        section="section 2, the data set",
        effect="not reported; for images that are framed alike, of which no part may be cut off",
    )

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], not {self.fraction}")

    def crop_box(
        self, rng: np.random.Generator, *, height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        side = max(1, round(self.fraction * min(height, width)))
        return (height - side) // 2, (width - side) // 2, side, side
