"""The operations of the AutoAugment family, on (H, W, 3) RGB uint8 images; none changes its input.

Their laws are Pillow's, on which the family was defined (Cubuk et al. 2019, arXiv:1805.09501,
appendix, list of all image transformations). The tables (`auto_contrast`, `invert`, `equalize`,
`solarize`, `solarize_add`, `posterize`, `brightness`) agree with Pillow bit for bit, the blends
(`contrast`, `color`, `sharpness`) within one level of 255. The geometric ones (`shear_x` to
`rotate`) interpolate bilinearly and fill what comes from outside with ImageNet's mean colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MEAN_COLOR = (124, 117, 104)
"""The mean of the preprocessing (He et al. 2019, section 2.1), rounded: zero after it."""

_TRUNCATE = -0.498
"""Added to a blend: Pillow cuts its fraction off where OpenCV rounds. Not quite a half, so that a
whole number stays itself whatever the rounding errors of the factors."""


def identity(image: np.ndarray) -> np.ndarray:
    """The image itself, not a copy."""
    return image


def _warp(
    image: np.ndarray,
    to_source: tuple[tuple[float, float, float], tuple[float, float, float]],
    fill: tuple[int, int, int],
) -> np.ndarray:
    """to_source: maps (x, y, 1) of a pixel's centre to where its value is taken from."""
    import cv2
    import numpy as np

    # Four channels are a word per pixel: with the two conversions it still takes half the time.
    warped = cv2.warpAffine(
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
        np.array(to_source, np.float64),
        (image.shape[1], image.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(*fill, 255),
    )
    rgb: np.ndarray = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    return rgb


def shear_x(
    image: np.ndarray, factor: float, *, fill: tuple[int, int, int] = MEAN_COLOR
) -> np.ndarray:
    """Rows slide along x: each takes its values from `factor` times its height further right.

    Heights are counted from the image's upper edge, half a pixel above its first centres.
    """
    return _warp(image, ((1, factor, factor / 2), (0, 1, 0)), fill)


def shear_y(
    image: np.ndarray, factor: float, *, fill: tuple[int, int, int] = MEAN_COLOR
) -> np.ndarray:
    """Columns slide along y, as the rows of `shear_x` do along x."""
    return _warp(image, ((1, 0, 0), (factor, 1, factor / 2)), fill)


def translate_x(
    image: np.ndarray, pixels: float, *, fill: tuple[int, int, int] = MEAN_COLOR
) -> np.ndarray:
    """Takes the values from `pixels` further right: what is positive moves the image left."""
    return _warp(image, ((1, 0, pixels), (0, 1, 0)), fill)


def translate_y(
    image: np.ndarray, pixels: float, *, fill: tuple[int, int, int] = MEAN_COLOR
) -> np.ndarray:
    """Takes the values from `pixels` further down: what is positive moves the image up."""
    return _warp(image, ((1, 0, 0), (0, 1, pixels)), fill)


def rotate(
    image: np.ndarray, degrees: float, *, fill: tuple[int, int, int] = MEAN_COLOR
) -> np.ndarray:
    """Counter-clockwise about the image's centre, which lies between the pixels of even sides."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    to_source = ((cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y))
    return _warp(image, to_source, fill)


def auto_contrast(image: np.ndarray) -> np.ndarray:
    """Each channel stretched so that it runs from 0 to 255; a constant channel stays."""
    import cv2
    import numpy as np

    # Over the rows first: numpy's vector instructions take the numbers of two rows at a time.
    rows = image.reshape(len(image), -1)
    low = rows.min(axis=0).reshape(-1, 3).min(axis=0).astype(np.float64)
    high = rows.max(axis=0).reshape(-1, 3).max(axis=0).astype(np.float64)
    constant = low == high
    scale = 255.0 / np.where(constant, 1, high - low)
    table = np.arange(256)[:, None] * scale + -low * scale
    table = np.where(constant, np.arange(256)[:, None], np.clip(table, 0, 255))
    stretched: np.ndarray = cv2.LUT(image, table.astype(np.uint8).reshape(1, 256, 3))
    return stretched


def invert(image: np.ndarray) -> np.ndarray:
    """255 minus each value."""
    import cv2

    inverted: np.ndarray = cv2.bitwise_not(image)
    return inverted


def equalize(image: np.ndarray) -> np.ndarray:
    """Each channel mapped so that its histogram becomes as even as a table of levels can make it.

    Pillow's law: level i becomes (step // 2 + pixels darker than i) // step, where `step` is a
    255th of the pixels, those of the brightest level left out.
    """
    import cv2
    import numpy as np

    table = np.empty((1, 256, 3), np.uint8)
    for channel in range(3):
        counts = cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel().astype(np.int64)
        step = int(counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        if step:
            darker = np.cumsum(counts) - counts
            table[0, :, channel] = np.minimum((step // 2 + darker) // step, 255)
        else:
            table[0, :, channel] = np.arange(256)
    mapped: np.ndarray = cv2.LUT(image, table)
    return mapped


def _look_up(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """levels: (256,) what each value becomes; fractions are cut off, what lies outside clips."""
    import cv2
    import numpy as np

    # As one channel, since OpenCV looks up the values of three one by one.
    table = np.clip(levels, 0, 255).astype(np.uint8)
    mapped: np.ndarray = cv2.LUT(image.reshape(len(image), -1), table)
    return mapped.reshape(image.shape)


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """Inverts the values at and above the threshold; 256 and more leave the image as it is."""
    import numpy as np

    levels = np.arange(256)
    return _look_up(image, np.where(levels < threshold, levels, 255 - levels))


def solarize_add(image: np.ndarray, amount: float) -> np.ndarray:
    """Adds `amount` to the values below 128; what goes beyond 255 clips."""
    import numpy as np

    levels = np.arange(256)
    return _look_up(image, np.where(levels < 128, levels + amount, levels))


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the highest `bits` of each value, 0 to 8: none is black, 8 is the image itself."""
    import numpy as np

    return _look_up(image, np.arange(256) & ~(2 ** (8 - bits) - 1))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """factor times the image: 0 is black, 1 the image."""
    import numpy as np

    return _look_up(image, np.arange(256, dtype=np.float32) * np.float32(factor))


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the image's mean grey: 0 is that grey, 1 the image, 2 twice the distance."""
    import cv2
    import numpy as np

    grey = np.float32(int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5))
    levels = np.arange(256, dtype=np.float32)
    return _look_up(image, grey + np.float32(factor) * (levels - grey))


def color(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the grey image: 0 is grey, 1 the image, 2 twice as colourful."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    blended: np.ndarray = cv2.addWeighted(image, factor, grey, 1 - factor, _TRUNCATE)
    return blended


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the smoothed image: 0 is smooth, 1 the image, 2 sharpened; the rim stays.

    Smooth is the mean of 3 x 3 pixels of which the middle one counts five times.
    """
    import cv2

    # 13 smooth = 9 mean + 4 image: OpenCV's mean of 3 x 3 is much faster than a kernel.
    other = (1 - factor) / 13
    result: np.ndarray = cv2.addWeighted(
        image, factor + 4 * other, cv2.blur(image, (3, 3)), 9 * other, _TRUNCATE
    )
    for rim in ((0, ...), (-1, ...), (slice(None), 0), (slice(None), -1)):
        result[rim] = image[rim]
    return result


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "identity": identity,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
    "auto_contrast": auto_contrast,
    "invert": invert,
    "equalize": equalize,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "posterize": posterize,
    "contrast": contrast,
    "color": color,
    "brightness": brightness,
    "sharpness": sharpness,
}


def operate(image: np.ndarray, name: str, value: float | None) -> np.ndarray:
    """One operation by its name; value: its number, None for those without one."""
    operation = OPERATIONS[name]
    return operation(image) if value is None else operation(image, value)
