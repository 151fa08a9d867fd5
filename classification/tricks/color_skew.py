"""Colour skew: each channel gets its own random gain and offset, as under another light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


def skew_colors(image: np.ndarray, *, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """gain times the value plus offset, of each channel, rounded and cut to 0..255.

    image: (H, W, 3) RGB uint8; the result too. gain, offset: (3,), the latter in 0..255.
    """
    import cv2
    import numpy as np

    table = np.arange(256)[:, None] * np.asarray(gain) + np.asarray(offset)
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8).reshape(1, 256, 3)
    skewed: np.ndarray = cv2.LUT(image, table)
    return skewed


@dataclass(frozen=True)
class ColorSkew(Trick):
    """gain: each channel's factor is uniform in [1 - gain, 1 + gain]. offset: what is then added to
    it is uniform in [-offset, offset], in 0..255.

    Where color_scaling moves all colours alike around the colour circle, this changes their
    balance.
    """

    gain: float = 0.2
    offset: float = 20.0

    name = "color_skew"
    kind = "augmentation"
    card = Card(
        paper="Wu et al. 2015, arXiv:1501.02876",
        section="data augmentation, color casting",
        equation="gain x + offset, gain ~ U(1 - g, 1 + g), offset ~ U(-o, o), of each channel",
        effect="not reported by itself; offsets of up to 20 are part of its augmentation",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.gain < 1:
            raise ValueError(f"gain must lie in [0, 1), not {self.gain}")
        if not 0 <= self.offset <= 255:
            raise ValueError(f"offset must lie in [0, 255], not {self.offset}")

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        gain = rng.uniform(1 - self.gain, 1 + self.gain, size=3)
        return skew_colors(view, gain=gain, offset=rng.uniform(-self.offset, self.offset, size=3))
