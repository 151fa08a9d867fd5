"""Outlines of objects as distances: how far a point is outside (positive) or inside (negative).

Every function takes object coordinates u, v (the object's longest side spans about -1..1) and its
own generator for what differs between two things of a kind, and returns (H, W) distances in the
same unit. They are exact where that is cheap and near the outline everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.mini_world.arrays import Plane

Silhouette = Callable[[Plane, Plane, np.random.Generator], Plane]


def disc(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A ball, seen slightly from the side or not at all."""
    aspect = rng.uniform(0.9, 1.0)
    return (np.hypot(u, v / aspect) - 1.0) * np.float32(aspect)


def wobbly_disc(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A disc that was cut or baked: the radius wanders by a few percent."""
    aspect = rng.uniform(0.78, 1.0)
    v = v / np.float32(aspect)
    angle = np.arctan2(v, u)
    radius = np.full_like(u, 0.95)
    for k in (2, 3, 5, 7):
        radius += np.float32(rng.normal(0, 0.022)) * np.cos(k * angle + rng.uniform(0, 6.28))
    return (np.hypot(u, v) - radius) * np.float32(aspect)


def oval(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """An ellipse lying on its side."""
    aspect = rng.uniform(0.62, 0.9)
    return (np.hypot(u, v / aspect) - 1.0) * np.float32(aspect)


def tile(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A rectangle with rounded corners, sheared as if seen from an angle."""
    shear, rounding = rng.uniform(-0.25, 0.25), rng.uniform(0.04, 0.2)
    height = rng.uniform(0.55, 0.78)
    return _box(u * 1.2 + shear * v, v, 0.85, height, rounding) / np.float32(1.2)


def stick(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A capsule, sometimes bent."""
    width, bend = rng.uniform(0.17, 0.3), rng.uniform(-0.25, 0.25)
    v = v + np.float32(bend) * (u * u - 0.4)
    return np.hypot(np.maximum(np.abs(u) - (1 - width), 0), v) - np.float32(width)


def leaf(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Two arcs that meet in points, fuller at one end, with a stalk."""
    width, fullness = rng.uniform(0.38, 0.62), rng.uniform(-0.35, 0.35)
    bend = rng.uniform(-0.18, 0.18)
    v = v + np.float32(bend) * (u * u - 0.3)
    t = u * 1.18 - 0.15  # the blade takes u in -0.72..0.97, the stalk the rest
    blade = np.maximum(np.abs(v) - width * (1 - t * t) * (1 + fullness * t), np.abs(t) - 1)
    stalk = _box(u + 0.8, v, 0.2, 0.035, 0.02)
    return np.minimum(blade * np.float32(0.85), stalk)


def star(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Five arms, plump or slender, each a little different in length."""
    inner, power = rng.uniform(0.3, 0.45), rng.uniform(1.2, 2.4)
    angle = np.arctan2(v, u)
    arm = 0.5 + 0.5 * np.cos(5 * angle)
    uneven = 1 + np.float32(rng.uniform(0, 0.1)) * np.cos(angle + rng.uniform(0, 6.28))
    radius = (inner + (0.95 - inner) * arm**power) * uneven
    return (np.hypot(u, v) - radius) * np.float32(0.6)


def wedge(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A slice: a triangle with one short side and softened corners."""
    half_angle = rng.uniform(0.33, 0.5)
    sine, cosine = np.float32(np.sin(half_angle)), np.float32(np.cos(half_angle))
    sides = np.abs(v) * cosine - (u + 0.95) * sine
    crust = (u - np.float32(rng.uniform(0.6, 0.9))) + np.float32(rng.uniform(0.05, 0.25)) * v * v
    return _smooth_max(sides, crust, 0.06)


def mushroom(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A cap on a stem; v points down. The cap ends at v = CAP_EDGE."""
    height, stem = rng.uniform(0.7, 1.0), rng.uniform(0.16, 0.3)
    dome = (np.hypot(u, (v - CAP_EDGE) / height) - 0.97) * np.float32(height)
    cap = _smooth_max(dome, v - CAP_EDGE - 0.06, 0.05)
    lean = np.float32(rng.uniform(-0.12, 0.12))
    foot = _box(u + lean * v, v - 0.5, stem * 1.05, 0.47, 0.08)
    return np.minimum(cap, foot)


CAP_EDGE = 0.1


def blob(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Clutter: a stain whose radius wanders far."""
    angle = np.arctan2(v, u)
    radius = np.full_like(u, 0.68)
    for k in (2, 3, 4):
        radius += np.float32(rng.normal(0, 0.11)) * np.cos(k * angle + rng.uniform(0, 6.28))
    return (np.hypot(u, v) - radius) * np.float32(0.7)


def shard(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Clutter: a convex piece with four to six edges."""
    edges = int(rng.integers(4, 7))
    turn = rng.uniform(0, 6.28)
    distance = np.full_like(u, -10)
    for k in range(edges):
        angle = turn + 6.28 * k / edges + rng.uniform(-0.35, 0.35)
        side = u * np.float32(np.cos(angle)) + v * np.float32(np.sin(angle))
        distance = np.maximum(distance, side - np.float32(rng.uniform(0.3, 0.75)))
    return distance


def bar(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Clutter: a lath."""
    return _box(u, v, 0.98, rng.uniform(0.08, 0.3), 0.02)


def hook(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Clutter: two laths at a right angle."""
    thickness = rng.uniform(0.12, 0.28)
    long = _box(u, v + 0.6, 0.85, thickness, 0.02)
    return np.minimum(long, _box(u + 0.85 - thickness, v, thickness, 0.75, 0.02))


def _box(u: Plane, v: Plane, width: float, height: float, rounding: float) -> Plane:
    """Exact distance to a rectangle of the given half sides with rounded corners."""
    x = np.abs(u) - np.float32(width - rounding)
    y = np.abs(v) - np.float32(height - rounding)
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    return outside + np.minimum(np.maximum(x, y), 0) - np.float32(rounding)


def _smooth_max(a: Plane, b: Plane, radius: float) -> Plane:
    """The maximum with its crease rounded."""
    blend = np.maximum(np.float32(radius) - np.abs(a - b), 0)
    return np.maximum(a, b) + blend * blend * np.float32(0.25 / radius)
