"""Images of the mini world for the figures, drawn without a prepared benchmark; sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.mini_world.kinds import CLASSES
from benchmarks.mini_world.scenes import render_scene
from benchmarks.world_spec import Difficulty, TaskCounts

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Image = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

SIDE = 112
"""Of a picture, in pixels of the figure."""
_GAP, _LINE, _DPI = 6, 13, 100

_CALM = Difficulty(
    hue_jitter=0.0,
    color_jitter=0.05,
    clutter=(0.05, 0.15),
    occlusion=0.0,
    light=(0.4, 0.6),
    exposure=(0.0, 0.0),
    texture_contrast=(1.0, 1.0),
    mismatch=0.0,
    blur=(0.2, 0.2),
    noise=(0.0, 0.0),
)


@lru_cache(maxsize=64)
def sample(name: str, *, seed: int = 0, side: int = SIDE) -> Image:
    """An image with one large object of a class, without the world's noise and clutter."""
    size = round(0.72 * side)
    counts = TaskCounts(train=1, test=1, image_size=side, object_size=(size, size))
    label = CLASSES.index(name)
    rng = np.random.default_rng([2019, label, seed])
    image = render_scene(counts, _CALM, rng, label=label).image
    image.setflags(write=False)  # it is shared by all who ask
    return image


def batch(names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The named classes' images normalized (B, 3, S, S), and their targets (B, 10).

    The n-th image of a class has the seed n.
    """
    import torch
    from torch.nn.functional import one_hot

    seeds = [names[:i].count(name) for i, name in enumerate(names)]
    images = [sample(name, seed=seed) for name, seed in zip(names, seeds, strict=True)]
    labels = torch.tensor([CLASSES.index(name) for name in names])
    return normalized(images), one_hot(labels, len(CLASSES)).float()


def normalized(images: Sequence[Image]) -> torch.Tensor:
    """(B, 3, S, S), as a network gets them."""
    import torch

    from backbones.preprocessing import IMAGENET_PAPER

    mean, std = np.array(IMAGENET_PAPER.mean, np.float32), np.array(IMAGENET_PAPER.std, np.float32)
    return torch.from_numpy((np.stack(images) - mean) / std).permute(0, 3, 1, 2)


def shown(images: torch.Tensor) -> list[Image]:
    """The inverse of `normalized`, cut to what a screen shows."""
    from backbones.preprocessing import IMAGENET_PAPER

    mean, std = np.array(IMAGENET_PAPER.mean, np.float32), np.array(IMAGENET_PAPER.std, np.float32)
    pixels = images.permute(0, 2, 3, 1).numpy() * std + mean
    return list(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def target_text(target: torch.Tensor) -> str:
    """`melon 0.70` and, on a second line, `leaf 0.30`: the largest first."""
    pairs = [(float(p), CLASSES[k]) for k, p in enumerate(target) if p > 0.005]
    first = sorted(pairs, key=lambda pair: -pair[0])[:2]
    return "\n".join(f"{name} {p:.2f}" for p, name in first)


def sheet(
    rows: Sequence[Sequence[tuple[Image, str] | None]], *, titles: Sequence[str] = ()
) -> tuple[Figure, list[list[Axes | None]]]:
    """Pictures with a caption of up to two lines under each, every pixel of theirs one of the
    figure's; a title above each row that has one. None leaves a place free."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    lines = [max(item[1].count("\n") + 1 for item in row if item) for row in rows]
    heads = [_LINE + 4 if title else 0 for title in titles] or [0] * len(rows)
    heights = [head + SIDE + _LINE * count + _GAP for head, count in zip(heads, lines, strict=True)]
    width, height = _GAP + columns * (SIDE + _GAP), _GAP + sum(heights)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes: list[list[Axes | None]] = []
    top = _GAP
    for number, row in enumerate(rows):
        if heads[number]:
            figure.text(
                _GAP / width,
                1 - (top + 2) / height,
                titles[number],
                va="top",
                fontsize=8,
                weight="bold",
            )
        axes.append([])
        for column, item in enumerate(row):
            if item is None:
                axes[-1].append(None)
                continue
            left, bottom = _GAP + column * (SIDE + _GAP), height - top - heads[number] - SIDE
            place = (left / width, bottom / height, SIDE / width, SIDE / height)
            one = figure.add_axes(place)
            one.imshow(item[0], interpolation="none" if len(item[0]) == SIDE else "antialiased")
            one.set_axis_off()
            figure.text(
                (left + SIDE / 2) / width,
                (bottom - 2) / height,
                item[1],
                va="top",
                ha="center",
                fontsize=7.5,
                linespacing=1.1,
            )
            axes[-1].append(one)
        top += heights[number]
    return figure, axes
