"""Surfaces of objects: which of a palette's three colors shows where.

Every function takes object coordinates u, v in about -1..1, the object's own grain (noise in 0..1
fixed to it), the sharpness that its size in pixels allows, and its generator. It returns (H, W) in
0..2: 0 is the palette's ground, 1 its figure, 2 its trim; values in between mix neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.mini_world.arrays import Plane, clip01, random_sign, soften
from benchmarks.mini_world.silhouettes import CAP_EDGE

Texture = Callable[[Plane, Plane, Plane, float, np.random.Generator], Plane]

PI = np.float32(np.pi)


def wavy_stripes(
    u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator
) -> Plane:
    """Zebra: stripes across, bent by the surface and by chance."""
    count, wave = rng.uniform(2.6, 5.0), rng.uniform(0.05, 0.2)
    across = v + np.float32(wave) * np.sin(u * rng.uniform(2, 5) + rng.uniform(0, 6.28))
    across = across * (1 + 0.25 * (u * u + v * v)) + np.float32(0.22) * (grain - 0.5)
    return soften(np.sin(PI * count * across + rng.uniform(0, 6.28)), sharpness)


def slanted_stripes(
    u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator
) -> Plane:
    """Candy: straight stripes at an angle to the long side, curved as around a rod."""
    count, slant = rng.uniform(3.0, 5.5), random_sign(rng) * rng.uniform(0.7, 1.6)
    along = u + np.float32(slant) * v * (1 + v * v)
    return soften(np.sin(PI * count * along + rng.uniform(0, 6.28)), sharpness)


def checks(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """A board of squares, parallel to the object's sides."""
    count = rng.uniform(2.2, 4.2)
    columns = np.sin(PI * count * u + rng.uniform(0, 6.28))
    rows = np.sin(PI * count * rng.uniform(0.9, 1.2) * v + rng.uniform(0, 6.28))
    return soften(columns * rows * 1.6, sharpness)


def dotted_cap(
    u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator
) -> Plane:
    """Toadstool: round spots on the cap, the stem in the trim's color."""
    spots = _spots(u, v, sharpness, rng, count=rng.uniform(1.8, 3.2), radius=(0.18, 0.36))
    stem = clip01((v - CAP_EDGE - 0.04) * np.float32(8 * sharpness))
    return np.where(stem > 0.5, np.float32(2) - 0.6 * clip01(grain * 2 - 1), spots)


def meridians(
    u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator
) -> Plane:
    """Melon: jagged stripes from pole to pole."""
    count = rng.uniform(3.5, 6.5)
    latitude = v / np.sqrt(np.maximum(1 - u * u, np.float32(0.06)))
    jagged = latitude + np.float32(rng.uniform(0.2, 0.4)) * (grain - 0.5)
    bands = np.sin(PI * count * jagged + rng.uniform(0, 6.28))
    return soften(bands + np.float32(rng.uniform(-0.3, 0.2)), 0.8 * sharpness)


def veins(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Leaf: a midrib and side veins over a blade that changes towards its edge."""
    count, slope = rng.uniform(4, 8), rng.uniform(0.8, 1.6)
    side = np.abs(v)
    ribs = np.sin(PI * count * (u - slope * side) + rng.uniform(0, 6.28))
    lines = clip01((ribs - 0.72) * np.float32(3 * sharpness)) * 0.7
    midrib = clip01(1.4 - side * np.float32(14 + 8 * sharpness))
    edge = clip01(side * np.float32(rng.uniform(0.4, 1.4)) + 0.5 * grain - 0.4)
    return np.maximum(np.maximum(lines, midrib), 2 * edge * np.float32(rng.uniform(0, 0.8)))


def speckles(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Starfish: bumps in the grain and rows of them down the arms."""
    bumps = clip01((grain - np.float32(rng.uniform(0.5, 0.6))) * np.float32(4 * sharpness))
    rows = clip01((np.cos(5 * np.arctan2(v, u)) - 0.82) * np.float32(3 * sharpness))
    beads = 0.5 + 0.5 * np.sin(PI * rng.uniform(6, 10) * np.hypot(u, v))
    return np.maximum(bumps * 0.8, rows * beads)


def holes(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Cheese: a few round holes of different sizes."""
    large = _spots(u, v, sharpness, rng, count=rng.uniform(1.1, 1.7), radius=(0.15, 0.36))
    small = _spots(u, v, sharpness, rng, count=rng.uniform(2.4, 3.6), radius=(0.0, 0.3))
    return np.maximum(np.maximum(large, small), 0.25 * clip01(grain * 2 - 1))


def rings(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Log: rings around an off-centre pith, bark as the trim."""
    count = rng.uniform(4.5, 8.0)
    x, y = u - rng.uniform(-0.25, 0.25), v - rng.uniform(-0.25, 0.25)
    years = np.hypot(x, y) + np.float32(0.18) * (grain - 0.5)
    wood = soften(np.sin(PI * count * years), 0.6 * sharpness)
    bark = clip01((np.hypot(u, v) - np.float32(rng.uniform(0.76, 0.86))) * np.float32(16))
    return wood * (1 - bark) + 2 * bark


def chips(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Cookie: dark crumbs of uneven outline on a mottled ground."""
    warp = np.float32(0.12) * (grain - 0.5)
    count = rng.uniform(2.4, 3.8)
    crumbs = _spots(u + warp, v - warp, sharpness, rng, count=count, radius=(0.1, 0.4))
    return np.maximum(crumbs, 0.35 * grain)


def plain(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Clutter: one color that drifts into another."""
    angle = rng.uniform(0, 6.28)
    drift = u * np.float32(np.cos(angle)) + v * np.float32(np.sin(angle))
    return clip01(np.float32(rng.uniform(0, 1)) + np.float32(rng.uniform(0, 0.6)) * drift)


def blotches(u: Plane, v: Plane, grain: Plane, sharpness: float, rng: np.random.Generator) -> Plane:
    """Clutter: stains without a rule."""
    return clip01((grain - np.float32(rng.uniform(0.35, 0.6))) * np.float32(2.5 * sharpness))


def _spots(
    u: Plane,
    v: Plane,
    sharpness: float,
    rng: np.random.Generator,
    *,
    count: float,
    radius: tuple[float, float],
) -> Plane:
    """Discs, one in each cell of a jittered grid with `count` cells per unit; radius in cells."""
    side = 16
    table = rng.random((3, side, side), np.float32)
    x, y = u * np.float32(count) + 8, v * np.float32(count) + 8
    column, row = np.floor(x), np.floor(y)
    where = (np.int32(side) * row.astype(np.int32) + column.astype(np.int32)) % (side * side)
    reach = np.float32(radius[0]) + np.float32(radius[1] - radius[0]) * table[0].ravel()[where]
    spare = 0.5 - reach
    center_x = 0.5 + (2 * table[1].ravel()[where] - 1) * spare
    center_y = 0.5 + (2 * table[2].ravel()[where] - 1) * spare
    distance = np.hypot(x - column - center_x, y - row - center_y)
    return clip01(0.5 + (reach - distance) * np.float32(8 * sharpness))
