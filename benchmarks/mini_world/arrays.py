"""Small numeric pieces that the renderer is made of. Arrays are float32."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
"""(H, W) float32."""
Color = npt.NDArray[np.float32]
"""(3,) float32, RGB in 0..1."""
Picture = npt.NDArray[np.float32]
"""(H, W, 3) float32, RGB in 0..1."""

NOISE_PERIOD = 64
"""Side of a noise tile in pixels; it repeats without a seam."""
NOISE_TILES = 64
NOISE_SEED = 1906


def clip01(values: Plane) -> Plane:
    # Two ufuncs take a fifth of the time of np.clip on planes as small as these.
    return np.minimum(np.maximum(values, np.float32(0)), np.float32(1))


def soften(wave: Plane, sharpness: float) -> Plane:
    """A wave in -1..1 turned into bands in 0..1; a higher sharpness gives harder edges."""
    return clip01(0.5 + sharpness * wave)


def noise_plane(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Plane:
    """Smooth noise in 0..1 over (H, W): octaves of random grids, the coarsest `cells` across."""
    total = np.zeros(shape, np.float32)
    weight, norm = 1.0, 0.0
    while cells < max(shape):
        grid = rng.random((max(2, round(cells)) + 1, max(2, round(cells)) + 1), np.float32)
        total += weight * cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
        norm += weight
        weight, cells = weight * 0.6, cells * 2.3
    return clip01(total / max(norm, 1e-6))


@cache
def _noise_bank() -> tuple[Plane, ...]:
    """The grains of all objects: drawn once, since drawing one costs as much as an object."""
    rng = np.random.default_rng(NOISE_SEED)
    return tuple(_noise_tile(rng) for _ in range(NOISE_TILES))


def _noise_tile(rng: np.random.Generator) -> Plane:
    """A square of noise of NOISE_PERIOD pixels that repeats without a seam, mean 0.5, in 0..1."""
    total = np.zeros((NOISE_PERIOD, NOISE_PERIOD), np.float32)
    for cells, weight in ((4, 0.5), (8, 0.3), (16, 0.2)):
        grid = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        scale = NOISE_PERIOD // cells
        grown = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        margin = 2 * scale
        total += weight * grown[margin : margin + NOISE_PERIOD, margin : margin + NOISE_PERIOD]
    return clip01(0.5 + 1.6 * (total - 0.5))


def grain_at(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Noise in 0..1 at object coordinates, fixed to the object; it repeats after one unit."""
    tile = _noise_bank()[int(rng.integers(NOISE_TILES))]
    shift = rng.random(2, np.float32)
    return cv2.remap(
        tile,
        (u + shift[0]) * NOISE_PERIOD,
        (v + shift[1]) * NOISE_PERIOD,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def within(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A uniform draw from [low, high]."""
    return float(rng.uniform(*bounds))
