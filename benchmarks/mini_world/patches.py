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
    """color: (N, N, 3) in 0..1; coverage: (N, N), 1 inside the outline, 0 outside."""

    color: Picture
    coverage: Plane


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
    distance = look.silhouette(u, v, rng)
    grain = grain_at(u, v, rng)
    # Bands must not be narrower than pixels: small things get soft ones.
    sharpness = float(np.clip(radius / 14, 0.6, 2.5))
    level = look.texture(u, v, grain, sharpness, rng)[..., None]
    color = look.ground + np.minimum(level, 1) * (look.figure - look.ground)
    color += np.maximum(level - 1, 0) * (look.trim - look.figure)
    color *= (np.float32(0.86) + np.float32(0.28) * grain)[..., None]
    _shade(color, distance, radius, look, light)
    coverage = clip01(0.5 - distance * np.float32(radius))
    return Patch(color=clip01(color), coverage=coverage)


def _object_coordinates(
    half: int, radius: float, angle: float, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Rotated coordinates of the canvas's pixels, with the center anywhere within a pixel."""
    line = np.arange(-half, half + 1, dtype=np.float32) / np.float32(radius)
    shift = rng.uniform(-0.5, 0.5, 2).astype(np.float32) / np.float32(radius)
    x, y = (line + shift[0])[None, :], (line + shift[1])[:, None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    mirror = np.float32(rng.choice([-1, 1]))
    return mirror * (cosine * x + sine * y), cosine * y - sine * x


def _shade(color: Picture, distance: Plane, radius: float, look: Look, light: Light) -> None:
    """Darken what faces away from the lamp and set a highlight (Blinn-Phong), in place."""
    inside = clip01(distance * np.float32(-1 / look.bevel))
    height = np.sqrt(inside * (2 - inside)) * np.float32(look.bevel * radius)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    norm = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    facing = (light.z - light.x * slope_x - light.y * slope_y) * norm
    color *= ((1 - light.strength) + light.strength * 1.25 * np.maximum(facing, 0))[..., None]
    if look.gloss > 0.05:
        # The vector halfway between the lamp and a viewer far above the image.
        length = np.sqrt(2 + 2 * light.z)
        along = light.z + 1 - light.x * slope_x - light.y * slope_y
        highlight = clip01(along * norm / np.float32(length)) ** 40
        color += np.float32(look.gloss) * highlight[..., None]
