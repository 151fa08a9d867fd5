"""What an image's pixels are shown to a network as, where it is not red, green and blue.

A representation is part of the preprocessing: what a network was trained on it also has to be asked
about, so that it acts on training and evaluation views alike and travels on the artifact's card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy as np

ColorSpaceName = Literal["hsv", "hls", "luv", "xyz", "ycrcb", "lab", "yuv"]
COLOR_SPACES: tuple[str, ...] = get_args(ColorSpaceName)

Kind = Literal[
    "grey",
    "hsv",
    "hls",
    "luv",
    "xyz",
    "ycrcb",
    "lab",
    "yuv",
    "normalized",
    "ben_graham",
    "alpha",
]

_CONVERSIONS = {
    # "Full": hue takes all 256 values, where OpenCV's plain codes halve its degrees to 0..179.
    "hsv": "COLOR_RGB2HSV_FULL",
    "hls": "COLOR_RGB2HLS_FULL",
    "luv": "COLOR_RGB2Luv",
    "xyz": "COLOR_RGB2XYZ",
    "ycrcb": "COLOR_RGB2YCrCb",
    "lab": "COLOR_RGB2Lab",
    "yuv": "COLOR_RGB2YUV",
}


@dataclass(frozen=True, kw_only=True)
class Representation:
    """kind: what is made of (S, S, 3) RGB pixels. channels: how many come out.

    grey: the luma 0.299 R + 0.587 G + 0.114 B, in 1 channel or in 3 equal ones. hsv ... yuv:
    OpenCV's color spaces in 0..255, hue over all of it. normalized: each view with its own mean
    and standard deviation of each channel, after it has become float. ben_graham: 4 times the
    distance from the local mean, around 128; `sigma` is that mean's Gaussian, as a share of the
    view's side. alpha: red, green, blue and alpha, 255 where an image has none. Raises ValueError.
    """

    # Read by pydantic where it is a field of a model.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own name for it

    kind: Kind
    channels: int = 3
    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"a representation is one of {', '.join(get_args(Kind))}, not {self.kind!r}"
            )
        possible = {"grey": (1, 3), "alpha": (4,)}.get(self.kind, (3,))
        if self.channels not in possible:
            numbers = " or ".join(map(str, possible))
            raise ValueError(f"{self.kind} has {numbers} channels, not {self.channels!r}")
        if (self.sigma is not None) != (self.kind == "ben_graham"):
            raise ValueError(f"ben_graham has a sigma and nothing else has, not {self}")
        if self.sigma is not None and not 0 < self.sigma <= 0.5:
            raise ValueError(f"sigma is a share of the side in (0, 0.5], not {self.sigma}")

    @property
    def source_channels(self) -> int:
        """Of the image that it is made from: 3, or 4 with alpha."""
        return 4 if self.kind == "alpha" else 3

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(S, S, 3) RGB uint8, with alpha (S, S, 4), -> (S, S, channels) uint8.

        What is "normalized" comes back as it is: that is done where pixels become float.
        """
        import cv2
        import numpy as np

        if self.kind in ("normalized", "alpha"):
            return image
        if self.kind == "grey":
            grey: np.ndarray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            return np.repeat(grey[..., None], self.channels, axis=2)
        if self.kind == "ben_graham":
            assert self.sigma is not None
            return subtract_local_mean(image, sigma=self.sigma * image.shape[0])
        converted: np.ndarray = cv2.cvtColor(image, getattr(cv2, _CONVERSIONS[self.kind]))
        return converted

    def mean_and_std(
        self, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """By which its channels are normalized, where (mean, std) are those of RGB in 0..255.

        Grey: the luma of the mean, and the mean of the deviations. Color spaces: 127.5 and 63.75,
        so that 0..255 becomes -2..2, about as wide as ImageNet's colors become. Ben Graham: its
        own grey 128, and 64. Alpha: the colors' own; opaque becomes 0 and transparent -2.
        """
        if self.kind == "grey":
            luma = 0.299 * mean[0] + 0.587 * mean[1] + 0.114 * mean[2]
            return (luma,) * self.channels, (sum(std) / 3,) * self.channels
        if self.kind == "normalized":
            return (0.0,) * 3, (1.0,) * 3
        if self.kind == "ben_graham":
            return (128.0,) * 3, (64.0,) * 3
        if self.kind == "alpha":
            return (*mean, 255.0), (*std, 127.5)
        return (127.5,) * 3, (63.75,) * 3

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        known: dict[str, Any] = {"kind": self.kind, "channels": self.channels}
        return known if self.sigma is None else {**known, "sigma": self.sigma}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Representation:
        """The inverse of `to_dict`. Raises ValueError for what it does not know."""
        unknown = set(data) - {"kind", "channels", "sigma"}
        if unknown or "kind" not in data:
            raise ValueError(f"a representation has kind, channels, sigma; got {sorted(data)}")
        return cls(**data)


def subtract_local_mean(image: np.ndarray, *, sigma: float) -> np.ndarray:
    """4 image - 4 blurred + 128, cut to 0..255 (B. Graham's report on diabetic retinopathy, 2015).

    image: (H, W, C) uint8. sigma: of the Gaussian blur, in pixels.
    """
    import cv2

    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    result: np.ndarray = cv2.addWeighted(image, 4, blurred, -4, 128)
    return result
