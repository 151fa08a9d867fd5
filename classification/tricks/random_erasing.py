"""Random erasing: a random rectangle of an image becomes noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Box = tuple[int, int, int, int]


def random_erasing_box(
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> Box | None:
    """(top, left, height, width) of a box smaller than the image; None if ten tries find none.

    area: range of the share of the image, uniform; aspect_ratio: range of height over width,
    log-uniform as in timm and torchvision (the paper's text says uniform).
    """
    log_low, log_high = math.log(aspect_ratio[0]), math.log(aspect_ratio[1])
    for _ in range(10):
        target = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(log_low, log_high))
        h, w = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if h < height and w < width:
            top = int(rng.integers(0, height - h + 1))
            left = int(rng.integers(0, width - w + 1))
            return top, left, h, w
    return None


def erase(
    images: Tensor, boxes: Sequence[Box | None], rng: np.random.Generator, *, mode: str
) -> Tensor:
    """A copy of the batch with one box per image filled anew; None leaves its image as it is.

    images: (B, C, H, W), normalized: noise is standard normal, the mean is 0. mode: "pixel" (noise
    per pixel and channel), "color" (per channel) or "mean".
    """
    import numpy as np
    import torch

    images = images.clone()
    for image, box in zip(images, boxes, strict=True):
        if box is None:
            continue
        top, left, h, w = box
        patch = image[:, top : top + h, left : left + w]
        if mode == "mean":
            patch.zero_()
        else:
            # numpy's numbers, so that every device erases with the same ones
            shape = tuple(patch.shape) if mode == "pixel" else (len(patch), 1, 1)
            patch.copy_(torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)))
    return images


@dataclass(frozen=True)
class RandomErasing(Trick):
    """probability: of an image to lose a box. area: the box's share of the image. aspect_ratio: its
    height over its width. mode: what it is filled with, "pixel" (noise per pixel), "color" (one
    random colour) or "mean".
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect_ratio: tuple[float, float] = (0.3, 3.3)
    mode: Literal["pixel", "color", "mean"] = "pixel"

    name = "random_erasing"
    kind = "augmentation"
    alternatives = "erasing"
    turn = -1  # each image on its own, before any are mixed
    card = Card(
        paper="Zhong et al. 2020, arXiv:1708.04896",
        section="section 3, Algorithm 1",
        effect="CIFAR-10: 5.31 to 4.89 error for ResNet-56, with probability 0.5, area up to 0.4",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], not {self.probability}")
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] < 1:
            raise ValueError(f"area must be an increasing pair in (0, 1), not {self.area}")
        ratio = self.aspect_ratio
        if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1] < math.inf:
            raise ValueError(f"aspect_ratio must be an increasing positive pair, not {ratio}")
        if self.mode not in ("pixel", "color", "mean"):
            raise ValueError(f"mode must be 'pixel', 'color' or 'mean', not {self.mode!r}")

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        boxes = [
            random_erasing_box(
                rng, height=height, width=width, area=self.area, aspect_ratio=self.aspect_ratio
            )
            if rng.random() < self.probability
            else None
            for _ in range(len(images))
        ]
        return erase(images, boxes, rng, mode=self.mode), targets
