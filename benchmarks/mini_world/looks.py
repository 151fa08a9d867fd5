"""How one thing looks: a class's variation for an object, or anything at all for clutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.mini_world import silhouettes, textures
from benchmarks.mini_world.arrays import Color, rgb, within
from benchmarks.mini_world.kinds import HSV, KINDS, Kind, Palette
from benchmarks.mini_world.silhouettes import Silhouette
from benchmarks.mini_world.textures import Texture
from benchmarks.world_spec import Difficulty

CLUTTER_SILHOUETTES: tuple[Silhouette, ...] = (
    silhouettes.blob,
    silhouettes.shard,
    silhouettes.bar,
    silhouettes.hook,
)
CLUTTER_TEXTURES: tuple[Texture, ...] = (textures.plain, textures.blotches)


@dataclass(frozen=True, kw_only=True)
class Look:
    """Everything about a thing but where it is and how it is lit; colors as in `Palette`."""

    silhouette: Silhouette
    texture: Texture
    ground: Color
    figure: Color
    trim: Color
    bevel: float
    gloss: float


def object_look(kind: Kind, difficulty: Difficulty, rng: np.random.Generator) -> Look:
    """One object of a class: its colors jittered together in hue, each in saturation and value."""
    alternative = int(rng.integers(6))
    palette = kind.palettes[alternative if alternative < len(kind.palettes) else 0]
    return _paint(
        palette,
        difficulty,
        rng,
        silhouette=kind.silhouette,
        texture=kind.texture,
        bevel=kind.bevel * within(rng, (0.8, 1.2)),
        gloss=kind.gloss * within(rng, (0.0, 1.0)),
    )


def clutter_look(difficulty: Difficulty, rng: np.random.Generator) -> Look:
    """A thing of no class. It may wear a class's colors or its surface, never both of one."""
    texture = CLUTTER_TEXTURES[int(rng.integers(len(CLUTTER_TEXTURES)))]
    palette = Palette(ground=_any_color(rng), figure=_any_color(rng), trim=_any_color(rng))
    if rng.random() < difficulty.mismatch:
        owner = KINDS[int(rng.integers(len(KINDS)))]
        if rng.random() < 0.5:
            texture = owner.texture
        else:
            palette = owner.palettes[0]
    return _paint(
        palette,
        difficulty,
        rng,
        silhouette=CLUTTER_SILHOUETTES[int(rng.integers(len(CLUTTER_SILHOUETTES)))],
        texture=texture,
        bevel=within(rng, (0.05, 0.5)),
        gloss=within(rng, (0.0, 0.3)),
    )


def _any_color(rng: np.random.Generator) -> HSV:
    return float(rng.random()), float(rng.uniform(0.0, 0.75)), float(rng.uniform(0.15, 0.95))


def _paint(
    palette: Palette,
    difficulty: Difficulty,
    rng: np.random.Generator,
    *,
    silhouette: Silhouette,
    texture: Texture,
    bevel: float,
    gloss: float,
) -> Look:
    turn = rng.normal(0, difficulty.hue_jitter)
    ground, figure, trim = (
        _jittered(color, turn, difficulty.color_jitter, rng)
        for color in (palette.ground, palette.figure, palette.trim)
    )
    contrast = within(rng, difficulty.texture_contrast)
    mean = (ground + figure) * np.float32(0.5)
    return Look(
        silhouette=silhouette,
        texture=texture,
        ground=mean + (ground - mean) * contrast,
        figure=mean + (figure - mean) * contrast,
        trim=trim,
        bevel=bevel,
        gloss=gloss,
    )


def _jittered(color: HSV, turn: float, jitter: float, rng: np.random.Generator) -> Color:
    hue, saturation, value = color
    saturation = min(max(saturation + rng.normal(0, jitter), 0.0), 1.0)
    value = min(max(value + rng.normal(0, jitter), 0.04), 1.0)
    return rgb(hue + turn, saturation, value)
