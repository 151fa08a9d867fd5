"""Small numeric pieces that the renderer is made of.

Arrays are float32; the types say floating, since numpy's stubs lose the width in arithmetic.
"""

from __future__ import annotations

import colorsys
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating]
"""(H, W) float32."""
Color = npt.NDArray[np.floating]
"""(3, 1, 1) float32, RGB in 0..1: it broadcasts over a picture."""
Picture = npt.NDArray[np.floating]
"""(3, H, W) float32, RGB in 0..1: planes, over which numpy loops three times as fast."""

NOISE_PERIOD = 256
"""Side of a noise tile in pixels; it repeats without a seam."""
COARSEST_CELLS = 8
"""How many of its coarsest features lie along a tile's side."""
GRAIN_PERIOD = 128
"""Pixels of a noise tile along one unit of an object's coordinates."""
NOISE_TILES = 32
SENSOR_NOISE = 1 << 22
"""Length of the strip that sensor noise is cut from."""
NOISE_SEED = 1906


def clip01(values: Plane) -> Plane:
    # Two ufuncs take a fifth of the time of np.clip on planes as small as these.
    return np.minimum(np.maximum(values, np.float32(0)), np.float32(1))


def soften(wave: Plane, sharpness: float) -> Plane:
    """A wave in -1..1 turned into bands in 0..1; a higher sharpness gives harder edges."""
    return clip01(0.5 + sharpness * wave)


def rgb(hue: float, saturation: float, value: float) -> Color:
    """A color from its hue in turns of the wheel (any number), saturation and value in 0..1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)[:, None, None]


def noise_plane(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Plane:
    """Smooth noise in 0..1 over (H, W), about `cells` (at most 8) of its features across."""
    tile = _noise_bank()[int(rng.integers(NOISE_TILES))]
    # Stretched, so that two cuts of a tile have little in common.
    side = cells * NOISE_PERIOD / COARSEST_CELLS
    height, width = (min(NOISE_PERIOD, int(side * rng.uniform(0.75, 1.33))) for _ in range(2))
    top = int(rng.integers(NOISE_PERIOD - height + 1))
    left = int(rng.integers(NOISE_PERIOD - width + 1))
    window = tile[top : top + height, left : left + width]
    return cv2.resize(window, shape[::-1], interpolation=cv2.INTER_LINEAR)


def sensor_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Plane:
    """(3, H, W) of normal noise with a standard deviation of 1, cut out of a long strip."""
    strip = _noise_strip()
    count = int(np.prod(shape))
    start = int(rng.integers(len(strip) - count))
    return strip[start : start + count].reshape(shape)


@cache
def _noise_strip() -> Plane:
    return np.random.default_rng(NOISE_SEED + 1).standard_normal(SENSOR_NOISE, np.float32)


@cache
def _noise_bank() -> tuple[Plane, ...]:
    """The grains of all things: drawn once, since drawing one costs as much as an object."""
    rng = np.random.default_rng(NOISE_SEED)
    return tuple(_noise_tile(rng) for _ in range(NOISE_TILES))


def _noise_tile(rng: np.random.Generator) -> Plane:
    """A square of noise of NOISE_PERIOD pixels that repeats without a seam, mean 0.5, in 0..1."""
    total = np.zeros((NOISE_PERIOD, NOISE_PERIOD), np.float32)
    for octave, weight in enumerate((0.4, 0.25, 0.15, 0.12, 0.08)):
        cells = COARSEST_CELLS << octave
        grid = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        scale = NOISE_PERIOD // cells
        grown = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        margin = 2 * scale
        total += weight * grown[margin : margin + NOISE_PERIOD, margin : margin + NOISE_PERIOD]
    return clip01(0.5 + 2.0 * (total - 0.5))


def grain_at(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Noise in 0..1 at object coordinates, fixed to the object; about four features per unit."""
    tile = _noise_bank()[int(rng.integers(NOISE_TILES))]
    shift = rng.random(2, np.float32)
    return cv2.remap(
        tile,
        (u + shift[0]) * GRAIN_PERIOD,
        (v + shift[1]) * GRAIN_PERIOD,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def within(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A uniform draw from [low, high]."""
    return float(rng.uniform(*bounds))


def random_sign(rng: np.random.Generator) -> int:
    """-1 or 1."""
    return 2 * int(rng.integers(2)) - 1
