"""One training view and one evaluation view of an image (He et al. 2019, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from classification.resampling import Interpolation, resize
from classification.tricks.color_scaling import scale_colors
from classification.tricks.pca_lighting import pca_lighting
from classification.tricks.random_resized_crop import random_crop_box

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.pixels import EncodedImage
    from classification.tricks.trick import Trick


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Knobs of the baseline: crop area and aspect ratio, flip, colour scaling, PCA noise.

    color: hue, saturation and brightness are each scaled by a factor from [1 - color, 1 + color].
    lighting_std: standard deviation of the PCA noise's coefficients. interpolation: see `resize`.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    color: float = 0.4
    lighting_std: float = 0.1
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area must be an increasing pair in (0, 1], not {self.area}")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ValueError(f"aspect_ratio must be a positive pair, not {self.aspect_ratio}")
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability must lie in [0, 1], not {self.flip_probability}")
        if not 0 <= self.color < 1:
            raise ValueError(f"color must lie in [0, 1), not {self.color}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"interpolation must be bilinear or bicubic, not {self.interpolation!r}"
            )
        if self.lighting_std < 0:
            raise ValueError(f"lighting_std must not be negative, not {self.lighting_std}")


def augment(
    image: np.ndarray | EncodedImage,
    *,
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    tricks: Sequence[Trick] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """One training view: (size, size, C) RGB uint8, and its PCA lighting offset (3,) in 0..255.

    image: (H, W, 3) RGB uint8 or (H, W, 4) with alpha, or a file, of which only the crop is
    decoded. The offset is added after the image has become float, so that nothing is clipped.
    """
    import cv2

    height, width = image.shape[:2]
    boxes = (trick.crop_box(rng, height=height, width=width) for trick in tricks)
    box = next((box for box in boxes if box is not None), None)
    if box is None:
        box = random_crop_box(
            rng,
            height=height,
            width=width,
            area=augmentation.area,
            aspect_ratio=augmentation.aspect_ratio,
        )
    view = resize(
        _cut(image, box),
        width=size,
        height=size,
        interpolation=augmentation.interpolation,
    )
    if rng.random() < augmentation.flip_probability:
        view = cv2.flip(view, 1)
    for trick in tricks:
        if trick.moves_pixels:
            view = trick.transform_view(view, rng)
        else:
            view = _on_colors(view, trick.transform_view, rng)
    if augmentation.color:
        low, high = 1 - augmentation.color, 1 + augmentation.color
        hue, saturation, brightness = rng.uniform(low, high, size=3)
        scaled = partial(scale_colors, hue=hue, saturation=saturation, brightness=brightness)
        view = _on_colors(view, scaled)
    return view, pca_lighting(rng.normal(0, augmentation.lighting_std, size=3))


def _cut(image: np.ndarray | EncodedImage, box: tuple[int, int, int, int]) -> np.ndarray:
    """box: (top, left, height, width), which may reach beyond the image: it is reflected there."""
    import cv2
    import numpy as np

    top, left, h, w = box
    bottom, right = min(top + h, image.shape[0]), min(left + w, image.shape[1])
    y, x = max(top, 0), max(left, 0)
    if isinstance(image, np.ndarray):
        part = image[y:bottom, x:right]
    else:
        part = image.crop(y, x, bottom - y, right - x)
    missing = (y - top, top + h - bottom, x - left, left + w - right)
    if not any(missing):
        return part
    padded: np.ndarray = cv2.copyMakeBorder(part, *missing, cv2.BORDER_REFLECT)
    return padded


def _on_colors(view: np.ndarray, change: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
    """What changes colours leaves alpha as it is."""
    import numpy as np

    if view.shape[2] == 3:
        return change(view, *arguments)
    return np.dstack([change(np.ascontiguousarray(view[..., :3]), *arguments), view[..., 3:]])


def lit(view: np.ndarray, lighting: np.ndarray) -> np.ndarray:
    """(S, S, C) uint8 with its lighting offset (3,) added, rounded and cut to 0..255.

    For what is made of the pixels before they become float.
    """
    import numpy as np

    def add(colors: np.ndarray) -> np.ndarray:
        moved: np.ndarray = np.clip(np.rint(colors + lighting), 0, 255).astype(np.uint8)
        return moved

    return _on_colors(view, add)


def center_view(
    image: np.ndarray, *, size: int, resize_size: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """The evaluation view: shorter side to `resize_size`, then the central square."""
    height, width = image.shape[:2]
    scale = resize_size / min(height, width)
    image = resize(
        image,
        width=round(width * scale),
        height=round(height * scale),
        interpolation=interpolation,
    )
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]
