"""One thing drawn on a canvas of its own: turned, colored, lit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.mini_world.arrays import (
    Picture,
    Plane,
    clip01,
    grain_at,
    random_sign,
    within,
)
from benchmarks.mini_world.looks import Look
from benchmarks.world_spec import Difficulty


@dataclass(frozen=True, kw_only=True)
class Light:
    """One lamp for a whole image: direction to it (x right, y down, z to the viewer), strength."""

    x: float
    y: float
    z: float
    strength: float


@dataclass(frozen=True, kw_only=True)
class Patch:
    """color: (3, H, W) in 0..1; coverage: (H, W), 1 inside the outline, 0 outside.

    left, top: where its first column and row lie from the thing's center, in pixels.
    """

    color: Picture
    coverage: Plane
    left: int
    top: int


def draw_light(difficulty: Difficulty, rng: np.random.Generator) -> Light:
    """A lamp above the scene, anywhere between grazing and steep."""
    azimuth, elevation = within(rng, (0, 6.28)), within(rng, (0.5, 1.2))
    return Light(
        x=float(np.cos(azimuth) * np.cos(elevation)),
        y=float(np.sin(azimuth) * np.cos(elevation)),
        z=float(np.sin(elevation)),
        strength=within(rng, difficulty.light),
    )


def draw_patch(look: Look, size: float, light: Light, rng: np.random.Generator) -> Patch:
    """Draw a thing whose longest side has `size` pixels, turned by any angle."""
    radius = size / 2
    half = int(np.ceil(radius * 1.25)) + 1
    u, v = _object_coordinates(half, radius, within(rng, (0, 6.28)), rng)
    u, v, distance, corner = _cut_out(u, v, look.silhouette(u, v, rng), 1 / radius)
    grain = grain_at(u, v, rng)
    # Bands must not be narrower than pixels: small things get soft ones.
    sharpness = min(max(radius / 14, 0.6), 2.5)
    level = look.texture(u, v, grain, sharpness, rng)
    color = look.ground + np.minimum(level, 1) * (look.figure - look.ground)
    if level.max() > 1:
        color += np.maximum(level - 1, 0) * (look.trim - look.figure)
    color *= np.float32(0.86) + np.float32(0.28) * grain
    _shade(color, distance, radius, look, light)
    coverage = clip01(0.5 - distance * np.float32(radius))
    return Patch(
        color=clip01(color), coverage=coverage, left=corner[0] - half, top=corner[1] - half
    )


def _object_coordinates(
    half: int, radius: float, angle: float, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Rotated coordinates of the canvas's pixels, with the center anywhere within a pixel."""
    line = np.arange(-half, half + 1, dtype=np.float32) / np.float32(radius)
    shift = rng.uniform(-0.5, 0.5, 2).astype(np.float32) / np.float32(radius)
    x, y = (line + shift[0])[None, :], (line + shift[1])[:, None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    mirror = np.float32(random_sign(rng))
    return (mirror * cosine) * x + (mirror * sine) * y, cosine * y - sine * x


def _cut_out(
    u: Plane, v: Plane, distance: Plane, pixel: float
) -> tuple[Plane, Plane, Plane, tuple[int, int]]:
    """The rectangle that the thing covers, with a pixel around it; (column, row) of its corner."""
    covered = distance < np.float32(0.5 * pixel)
    columns, rows = np.flatnonzero(covered.any(0)), np.flatnonzero(covered.any(1))
    left, right = max(0, int(columns[0]) - 1), int(columns[-1]) + 2
    top, bottom = max(0, int(rows[0]) - 1), int(rows[-1]) + 2
    window = slice(top, bottom), slice(left, right)
    u, v, distance = (np.ascontiguousarray(plane[window]) for plane in (u, v, distance))
    return u, v, distance, (left, top)


def _shade(color: Picture, distance: Plane, radius: float, look: Look, light: Light) -> None:
    """Darken what faces away from the lamp and set a highlight (Blinn-Phong), in place."""
    inside = clip01(distance * np.float32(-1 / look.bevel))
    height = np.sqrt(inside * (2 - inside)) * np.float32(look.bevel * radius)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    norm = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    facing = (light.z - light.x * slope_x - light.y * slope_y) * norm
    color *= (1 - light.strength) + light.strength * 1.25 * np.maximum(facing, 0)
    if look.gloss > 0.05:
        # The vector halfway between the lamp and a viewer far above the image.
        length = np.sqrt(2 + 2 * light.z)
        along = light.z + 1 - light.x * slope_x - light.y * slope_y
        highlight = clip01(along * norm / np.float32(length))
        for _ in range(5):  # to the power of 32: np.power takes ten times as long
            highlight *= highlight
        color += np.float32(look.gloss) * highlight
