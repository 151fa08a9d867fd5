"""Common corruptions of images: noise, blur, light and coding.

After Hendrycks and Dietterich 2019 (arXiv:1903.12261), section 3 and the code of ImageNet-C: those
that need no further pictures or warps, by the parameters in `CORRUPTIONS`. Theirs are for images of
224 pixels: lengths in pixels (radii, the sigma of a blur) are scaled by side / 224, so that they
blur the same share of a smaller image.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from classification.robustness_protocol import CORRUPTIONS

Pixels = npt.NDArray[np.uint8]
_Values = npt.NDArray[np.floating]

LEVELS = (1, 2, 3, 4, 5)
_SIDE = 224


def corrupt(image: Pixels, name: str, *, level: int, rng: np.random.Generator) -> Pixels:
    """The corrupted image.

    image: (H, W, 3) RGB; name: a key of CORRUPTIONS; level: 1..5; rng: of its noise and directions.
    The same image, name, level and state of rng give the same pixels.
    """
    parameters = CORRUPTIONS[name][LEVELS.index(level)]
    return _CORRUPTIONS[name](image, rng, *parameters)


def _gaussian_noise(image: Pixels, rng: np.random.Generator, std: float) -> Pixels:
    return _pixels(_values(image) + rng.normal(0, std, image.shape))


def _shot_noise(image: Pixels, rng: np.random.Generator, photons: float) -> Pixels:
    return _pixels(rng.poisson(_values(image) * photons) / photons)


def _impulse_noise(image: Pixels, rng: np.random.Generator, share: float) -> Pixels:
    """Salt and pepper in equal parts, drawn for each channel on its own."""
    draw = rng.random(image.shape)
    found = np.where(draw < share / 2, np.uint8(0), image)
    return np.where(draw >= 1 - share / 2, np.uint8(255), found)


def _defocus_blur(image: Pixels, rng: np.random.Generator, radius: float, edge: float) -> Pixels:
    return _filtered(image, disk(_scaled(radius, image), edge=_scaled(edge, image)))


def _motion_blur(image: Pixels, rng: np.random.Generator, length: float, sigma: float) -> Pixels:
    angle = rng.uniform(-45, 45)
    return _filtered(image, streak(_scaled(length, image), _scaled(sigma, image), angle))


def _gaussian_blur(image: Pixels, rng: np.random.Generator, sigma: float) -> Pixels:
    sigma = _scaled(sigma, image)
    blurred: Pixels = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


def _brightness(image: Pixels, rng: np.random.Generator, added: float) -> Pixels:
    hsv = cv2.cvtColor(_values(image), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
    return _pixels(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _contrast(image: Pixels, rng: np.random.Generator, factor: float) -> Pixels:
    values = _values(image)
    mean = values.mean(axis=(0, 1), keepdims=True)
    return _pixels((values - mean) * factor + mean)


def _saturate(image: Pixels, rng: np.random.Generator, factor: float, added: float) -> Pixels:
    hsv = cv2.cvtColor(_values(image), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
    return _pixels(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _pixelate(image: Pixels, rng: np.random.Generator, share: float) -> Pixels:
    height, width = image.shape[:2]
    size = max(1, int(width * share)), max(1, int(height * share))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    # Exact: the plain one takes for some pixels a neighbor's nearest.
    large: Pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return large


def _jpeg(image: Pixels, rng: np.random.Generator, quality: float) -> Pixels:
    flags = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    written, data = cv2.imencode(".jpg", image[..., ::-1], flags)
    assert written, "an image can be written to memory"
    decoded: Pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    return decoded


_CORRUPTIONS: dict[str, Callable[..., Pixels]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "gaussian_blur": _gaussian_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturate": _saturate,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}


def disk(radius: float, *, edge: float) -> _Values:
    """The kernel of an open aperture: odd sides, sum 1. edge: sigma by which its rim is smoothed.

    A pixel weighs as much as the disk covers of it, so that small radii differ from each other.
    """
    reach = int(np.ceil(radius)) + 1
    fine = 8  # samples of a pixel's side
    steps = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    inside = (steps[:, None] ** 2 + steps[None, :] ** 2 <= radius**2).astype(np.float32)
    side = 2 * reach + 1
    kernel = inside.reshape(side, fine, side, fine).mean(axis=(1, 3))
    kernel = cv2.GaussianBlur(kernel, (5, 5), max(edge, 1e-3), borderType=cv2.BORDER_CONSTANT)
    normalized: _Values = (kernel / kernel.sum()).astype(np.float32)
    return normalized


def streak(length: float, sigma: float, angle: float) -> _Values:
    """The kernel of a moving camera: a line from the middle outwards, fading as half a Gaussian.

    length: in pixels to its end; angle: in degrees, counter-clockwise from the right.
    """
    reach = int(np.ceil(length)) + 1
    along = np.arange(0, length + 1e-6, 0.25)
    weights = np.exp(-(along**2) / (2 * sigma**2))
    x = reach + along * np.cos(np.deg2rad(angle))
    y = reach - along * np.sin(np.deg2rad(angle))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):  # each point is shared by the four pixels around it
        for dy in (0, 1):
            share = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top))
            np.add.at(kernel, (top + dy, left + dx), weights * share)
    normalized: _Values = kernel / kernel.sum()
    return normalized


def _filtered(image: Pixels, kernel: _Values) -> Pixels:
    filtered: Pixels = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return filtered


def _scaled(length: float, image: Pixels) -> float:
    side: int = min(image.shape[:2])
    return length * side / _SIDE


def _values(image: Pixels) -> _Values:
    return image.astype(np.float32) / np.float32(255)


def _pixels(values: _Values) -> Pixels:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
