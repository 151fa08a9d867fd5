"""The ten classes of the mini benchmark: outline, surface and colors of each.

They come in pairs that share their colors and differ in surface and outline (zebra_ball and
chess_tile, toadstool and candy_stick, ...), so that the mean color alone cannot tell them apart;
others share an outline (zebra_ball, log_slice, cookie). Most have a second, rarer coloring.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.mini_world import silhouettes, textures
from benchmarks.mini_world.silhouettes import Silhouette
from benchmarks.mini_world.textures import Texture

HSV = tuple[float, float, float]
"""Hue in turns of the color wheel, saturation and value in 0..1."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Three colors: of the ground, of the figure on it, and of the trim (stem, bark, edge)."""

    ground: HSV
    figure: HSV
    trim: HSV


@dataclass(frozen=True, kw_only=True)
class Kind:
    """palettes: the usual one first; each later one is taken once in six objects.

    bevel: how far from the outline the surface curves, 1 being a ball and 0.1 a tile;
    gloss: the strength of its highlight, at most.
    """

    name: str
    silhouette: Silhouette
    texture: Texture
    palettes: tuple[Palette, ...]
    bevel: float
    gloss: float


BLACK, WHITE, CREAM = (0.6, 0.1, 0.12), (0.12, 0.04, 0.93), (0.11, 0.22, 0.92)
RED, GREEN, DARK_GREEN = (0.0, 0.82, 0.8), (0.27, 0.62, 0.68), (0.34, 0.75, 0.32)
ORANGE, YELLOW, DARK_ORANGE = (0.06, 0.78, 0.9), (0.13, 0.66, 0.93), (0.08, 0.8, 0.6)
TAN, BROWN, DARK_BROWN = (0.09, 0.45, 0.78), (0.07, 0.6, 0.5), (0.06, 0.6, 0.24)
PURPLE, PINK = (0.8, 0.5, 0.6), (0.95, 0.4, 0.9)

BLACK_ON_WHITE = Palette(ground=WHITE, figure=BLACK, trim=BLACK)
BROWN_ON_CREAM = Palette(ground=CREAM, figure=DARK_BROWN, trim=DARK_BROWN)
WHITE_ON_RED = Palette(ground=RED, figure=WHITE, trim=CREAM)
WHITE_ON_BROWN = Palette(ground=BROWN, figure=CREAM, trim=CREAM)
PINK_ON_WHITE = Palette(ground=PINK, figure=WHITE, trim=WHITE)
DARK_ON_GREEN = Palette(ground=GREEN, figure=DARK_GREEN, trim=YELLOW)
DARK_ON_YELLOW = Palette(ground=YELLOW, figure=DARK_GREEN, trim=YELLOW)
LIGHT_ON_GREEN = Palette(ground=(0.3, 0.65, 0.5), figure=(0.25, 0.45, 0.78), trim=DARK_GREEN)
AUTUMN = Palette(ground=ORANGE, figure=YELLOW, trim=(0.02, 0.75, 0.55))
CREAM_ON_ORANGE = Palette(ground=ORANGE, figure=CREAM, trim=DARK_ORANGE)
CREAM_ON_PURPLE = Palette(ground=PURPLE, figure=CREAM, trim=PURPLE)
ORANGE_ON_YELLOW = Palette(ground=YELLOW, figure=DARK_ORANGE, trim=ORANGE)
YELLOW_ON_ORANGE = Palette(ground=(0.09, 0.72, 0.95), figure=(0.06, 0.8, 0.66), trim=YELLOW)
BROWN_ON_TAN = Palette(ground=TAN, figure=BROWN, trim=DARK_BROWN)
DARK_ON_TAN = Palette(ground=TAN, figure=DARK_BROWN, trim=DARK_BROWN)
CREAM_ON_BROWN = Palette(ground=BROWN, figure=CREAM, trim=DARK_BROWN)

KINDS: tuple[Kind, ...] = (
    Kind(
        name="zebra_ball",
        silhouette=silhouettes.disc,
        texture=textures.wavy_stripes,
        palettes=(BLACK_ON_WHITE, BROWN_ON_CREAM),
        bevel=1.0,
        gloss=0.5,
    ),
    Kind(
        name="chess_tile",
        silhouette=silhouettes.tile,
        texture=textures.checks,
        palettes=(BLACK_ON_WHITE, BROWN_ON_CREAM),
        bevel=0.12,
        gloss=0.2,
    ),
    Kind(
        name="toadstool",
        silhouette=silhouettes.mushroom,
        texture=textures.dotted_cap,
        palettes=(WHITE_ON_RED, WHITE_ON_BROWN),
        bevel=0.6,
        gloss=0.35,
    ),
    Kind(
        name="candy_stick",
        silhouette=silhouettes.stick,
        texture=textures.slanted_stripes,
        palettes=(WHITE_ON_RED, PINK_ON_WHITE),
        bevel=0.3,
        gloss=0.6,
    ),
    Kind(
        name="melon",
        silhouette=silhouettes.oval,
        texture=textures.meridians,
        palettes=(DARK_ON_GREEN, DARK_ON_YELLOW),
        bevel=0.9,
        gloss=0.4,
    ),
    Kind(
        name="leaf",
        silhouette=silhouettes.leaf,
        texture=textures.veins,
        palettes=(LIGHT_ON_GREEN, AUTUMN),
        bevel=0.15,
        gloss=0.15,
    ),
    Kind(
        name="starfish",
        silhouette=silhouettes.star,
        texture=textures.speckles,
        palettes=(CREAM_ON_ORANGE, CREAM_ON_PURPLE),
        bevel=0.3,
        gloss=0.0,
    ),
    Kind(
        name="cheese",
        silhouette=silhouettes.wedge,
        texture=textures.holes,
        palettes=(ORANGE_ON_YELLOW, YELLOW_ON_ORANGE),
        bevel=0.12,
        gloss=0.1,
    ),
    Kind(
        name="log_slice",
        silhouette=silhouettes.wobbly_disc,
        texture=textures.rings,
        palettes=(BROWN_ON_TAN,),
        bevel=0.08,
        gloss=0.0,
    ),
    Kind(
        name="cookie",
        silhouette=silhouettes.wobbly_disc,
        texture=textures.chips,
        palettes=(DARK_ON_TAN, CREAM_ON_BROWN),
        bevel=0.35,
        gloss=0.0,
    ),
)

CLASSES: tuple[str, ...] = tuple(kind.name for kind in KINDS)
