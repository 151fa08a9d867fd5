"""The paper's training augmentation (He et al. 2019, section 2.1) as pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Principal components of ImageNet's RGB values in 0..255: Krizhevsky et al. 2012, section 4.1,
# with the values that all public reimplementations share.
PCA_EIGENVALUES = (55.46, 4.794, 1.148)
PCA_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Knobs of the baseline: crop area and aspect ratio, flip, colour scaling, PCA noise.

    color: hue, saturation and brightness are each scaled by a factor from [1 - color, 1 + color].
    lighting_std: standard deviation of the PCA noise's coefficients.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    color: float = 0.4
    lighting_std: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area must be an increasing pair in (0, 1], not {self.area}")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ValueError(f"aspect_ratio must be a positive pair, not {self.aspect_ratio}")
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability must lie in [0, 1], not {self.flip_probability}")
        if not 0 <= self.color < 1:
            raise ValueError(f"color must lie in [0, 1), not {self.color}")
        if self.lighting_std < 0:
            raise ValueError(f"lighting_std must not be negative, not {self.lighting_std}")


def random_crop_box(
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a crop with random area and log-uniform aspect ratio.

    The law of torchvision's RandomResizedCrop: ten tries, then the largest central crop whose
    aspect ratio is allowed.
    """
    log_low, log_high = math.log(aspect_ratio[0]), math.log(aspect_ratio[1])
    for _ in range(10):
        target = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(log_low, log_high))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(0, height - h + 1))
            left = int(rng.integers(0, width - w + 1))
            return top, left, h, w
    ratio = min(max(width / height, aspect_ratio[0]), aspect_ratio[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - h) // 2, (width - w) // 2, h, w


def scale_colors(
    image: np.ndarray, *, hue: float, saturation: float, brightness: float
) -> np.ndarray:
    """Hue, saturation and brightness (HSV), each times its factor; hue wraps, the others clip.

    image: (H, W, 3) RGB uint8; the result too.
    """
    import cv2
    import numpy as np

    # OpenCV's 8-bit "full" HSV keeps hue in 0..255, a full turn in 256 steps: tables suffice.
    steps = np.arange(256, dtype=np.float32)
    table = np.empty((256, 1, 3), np.uint8)
    table[:, 0, 0] = np.round(steps * hue).astype(np.int32) % 256
    table[:, 0, 1] = np.clip(np.round(steps * saturation), 0, 255)
    table[:, 0, 2] = np.clip(np.round(steps * brightness), 0, 255)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def pca_lighting(coefficients: np.ndarray) -> np.ndarray:
    """RGB offset (3,) in 0..255 along ImageNet's principal components, one coefficient each."""
    import numpy as np

    vectors = np.array(PCA_EIGENVECTORS, np.float32)
    values = np.array(PCA_EIGENVALUES, np.float32)
    return vectors @ (np.asarray(coefficients, np.float32) * values)


def resize(image: np.ndarray, *, width: int, height: int) -> np.ndarray:
    """Area averaging where the image shrinks, bilinear where it grows: no aliasing either way."""
    import cv2

    shrinks = width * height < image.shape[0] * image.shape[1]
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def augment(
    image: np.ndarray, *, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One training view: (size, size, 3) RGB uint8, and its PCA lighting offset (3,) in 0..255.

    The offset is added after the image has become float, so that nothing is clipped.
    """
    import cv2

    top, left, h, w = random_crop_box(
        rng,
        height=image.shape[0],
        width=image.shape[1],
        area=augmentation.area,
        aspect_ratio=augmentation.aspect_ratio,
    )
    view = resize(image[top : top + h, left : left + w], width=size, height=size)
    if rng.random() < augmentation.flip_probability:
        view = cv2.flip(view, 1)
    if augmentation.color:
        low, high = 1 - augmentation.color, 1 + augmentation.color
        hue, saturation, brightness = rng.uniform(low, high, size=3)
        view = scale_colors(view, hue=hue, saturation=saturation, brightness=brightness)
    return view, pca_lighting(rng.normal(0, augmentation.lighting_std, size=3))


def center_view(image: np.ndarray, *, size: int, resize_size: int) -> np.ndarray:
    """The evaluation view: shorter side to `resize_size`, then the central square."""
    height, width = image.shape[:2]
    scale = resize_size / min(height, width)
    image = resize(image, width=round(width * scale), height=round(height * scale))
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]
