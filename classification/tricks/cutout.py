"""Cutout: a square of each image is blanked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def cutout(images: Tensor, *, length: int, centers: Tensor) -> Tensor:
    """Each image with a square set to 0, which is the mean after normalization.

    images: (B, C, H, W); length: side in pixels; centers: (B, 2) integers, row and column. The
    square starts length // 2 above and left of its centre; what lies outside the image is lost.
    """
    import torch

    first = (centers - length // 2).to(images.device)
    holes = []
    for axis, size in enumerate(images.shape[2:]):
        offset = torch.arange(size, device=images.device) - first[:, axis, None]
        holes.append((offset >= 0) & (offset < length))
    hole = holes[0][:, None, :, None] & holes[1][:, None, None, :]
    return images.clone().masked_fill_(hole, 0)  # a clone keeps the memory format


@dataclass(frozen=True)
class Cutout(Trick):
    """size: side of the square, as a share of the image's shorter side.

    The centre is uniform over the pixels, so that squares may lie partly outside: the paper found
    that to matter.
    """

    size: float = 0.5

    name = "cutout"
    kind = "augmentation"
    alternatives = "erasing"
    turn = -1  # each image on its own, before any are mixed
    card = Card(
        paper="DeVries and Taylor 2017, arXiv:1708.04552",
        section="section 3",
        effect="CIFAR-10: 4.72 to 3.99 error for ResNet-18 with size 0.5; ImageNet not reported",
    )

    def __post_init__(self) -> None:
        if not 0 < self.size <= 1:
            raise ValueError(f"size must lie in (0, 1], not {self.size}")

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        import torch

        height, width = images.shape[2:]
        length = max(1, round(self.size * min(height, width)))
        centers = torch.from_numpy(rng.integers([height, width], size=(len(images), 2)))
        return cutout(images, length=length, centers=centers), targets
