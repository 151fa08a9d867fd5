"""Color space: images in another one than RGB, in training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backbones.representation import COLOR_SPACES, Representation
from classification.tricks.trick import Card, Trick


@dataclass(frozen=True)
class ColorSpace(Trick):
    """space: "hsv", "hls", "luv", "xyz", "ycrcb", "lab" or "yuv", as OpenCV defines them for 8
    bits, with hue over all of 0..255. Each channel is normalized by 127.5 and 63.75, to -2..2.
    Noise that moves colours is drawn before, in RGB.
    """

    space: Literal["hsv", "hls", "luv", "xyz", "ycrcb", "lab", "yuv"] = "hsv"

    name = "color_space"
    kind = "augmentation"
    alternatives = "representation"
    card = Card(
        paper="Gowda and Yuan 2018, arXiv:1902.00267",
        section="section 3",
        effect="not recorded here; weights that were trained on RGB have to get used to it",
        conflicts=("distillation",),  # a teacher sees the same images, and knows RGB alone
    )

    def __post_init__(self) -> None:
        if self.space not in COLOR_SPACES:
            raise ValueError(f"space must be one of {', '.join(COLOR_SPACES)}, not {self.space!r}")

    @property
    def representation(self) -> Representation:
        return Representation(kind=self.space)
