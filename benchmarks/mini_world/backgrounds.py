"""What the scenes lie on: mottled grounds with a weave, a gradient, sometimes a second ground."""

from __future__ import annotations

import numpy as np

from benchmarks.mini_world.arrays import Color, Picture, Plane, clip01, noise_plane, rgb, soften
from benchmarks.mini_world.kinds import HSV

# Earth, sand, grass, moss, stone, slate, wood, brick, sky, cloth: among them the objects' hues.
GROUNDS: tuple[HSV, ...] = (
    (0.07, 0.45, 0.4),
    (0.11, 0.35, 0.75),
    (0.26, 0.5, 0.5),
    (0.3, 0.35, 0.3),
    (0.1, 0.08, 0.6),
    (0.58, 0.15, 0.35),
    (0.08, 0.5, 0.58),
    (0.02, 0.55, 0.55),
    (0.57, 0.35, 0.8),
    (0.7, 0.25, 0.55),
)


def draw_background(height: int, width: int, rng: np.random.Generator) -> Picture:
    """(3, height, width): one ground, or two that meet along a ragged line."""
    ground = _ground(height, width, rng)
    if rng.random() < 0.5:
        angle, offset = rng.uniform(0, 6.28), rng.uniform(-0.3, 0.3)
        y, x = _coordinates(height, width)
        line = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) - np.float32(offset)
        ragged = line + 0.25 * (noise_plane(rng, (height, width), 4) - 0.5)
        blend = clip01(0.5 + ragged * np.float32(rng.uniform(8, 40)))
        ground = ground + blend * (_ground(height, width, rng) - ground)
    return clip01(ground)


def _ground(height: int, width: int, rng: np.random.Generator) -> Picture:
    first, second = _color(rng), _color(rng)
    # Neighbouring colors, so that the ground is one thing.
    second = first + np.float32(rng.uniform(0.25, 0.7)) * (second - first)
    mottle = noise_plane(rng, (height, width), rng.uniform(1.5, 7))
    contrast = np.float32(rng.uniform(1.0, 3.0))
    blend = clip01(0.5 + contrast * (mottle - 0.5))
    blend = clip01(blend + np.float32(rng.uniform(0, 0.7)) * (_weave(height, width, rng) - 0.5))
    picture = first + blend * (second - first)
    y, x = _coordinates(height, width)
    gradient = (
        1 + np.float32(rng.uniform(-0.25, 0.25)) * x + np.float32(rng.uniform(-0.25, 0.25)) * y
    )
    return picture * gradient


def _weave(height: int, width: int, rng: np.random.Generator) -> Plane:
    """Planks, tiles, cloth or nothing, in 0..1."""
    choice = int(rng.integers(4))
    if choice == 0:
        return np.full((height, width), 0.5, np.float32)
    y, x = _coordinates(height, width)
    angle, count = rng.uniform(0, 6.28), np.float32(rng.uniform(4, 20) * width / 76)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across = np.sin(count * (cosine * x + sine * y))
    along = np.sin(count * (cosine * y - sine * x))
    wave = (across, across * along, np.maximum(across, along))[choice - 1]
    return soften(wave, float(rng.uniform(0.5, 1.5)))


def _coordinates(height: int, width: int) -> tuple[Plane, Plane]:
    """(rows, 1) and (1, columns), both in -1..1."""
    return (
        np.linspace(-1, 1, height, dtype=np.float32)[:, None],
        np.linspace(-1, 1, width, dtype=np.float32)[None, :],
    )


def _color(rng: np.random.Generator) -> Color:
    hue, saturation, value = GROUNDS[int(rng.integers(len(GROUNDS)))]
    hue += rng.normal(0, 0.03)
    saturation = min(max(saturation + rng.normal(0, 0.12), 0.0), 0.9)
    value = min(max(value + rng.normal(0, 0.15), 0.1), 0.95)
    return rgb(hue, saturation, value)
