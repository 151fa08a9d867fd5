"""An image of the world with the truth about it: which object every pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.mini_world.arrays import Picture, within
from benchmarks.mini_world.backgrounds import draw_background
from benchmarks.mini_world.camera import expose
from benchmarks.mini_world.kinds import KINDS
from benchmarks.mini_world.looks import clutter_look, object_look
from benchmarks.mini_world.patches import Light, Patch, draw_light, draw_patch
from benchmarks.world_spec import Difficulty, TaskCounts

MINIMUM_VISIBLE = 0.3
"""A new object may not hide more of an older one than leaves this fraction of it."""
ATTEMPTS = 8


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """label: position in CLASSES; area: pixels of the whole object, what the image's edge cuts
    off included; inside: pixels that lie in the image, whether hidden or not."""

    label: int
    area: int
    inside: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """image: (H, W, 3) RGB uint8; ids: (H, W), 0 or the number (from 1) of the object shown."""

    image: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int32]
    objects: tuple[SceneObject, ...]


class _Stage:
    """A scene while it is being painted, from the back to the front."""

    def __init__(
        self, side: int, light: Light, difficulty: Difficulty, rng: np.random.Generator
    ) -> None:
        self.side, self.light, self.difficulty, self.rng = side, light, difficulty, rng
        self.picture: Picture = draw_background(side, side, rng)
        self.ids = np.zeros((side, side), np.int32)
        self.objects: list[SceneObject] = []

    def add_clutter(self, size: float, x: float, y: float) -> None:
        patch = draw_patch(clutter_look(self.difficulty, self.rng), size, self.light, self.rng)
        self._paint(patch, x, y, 0)

    def add_object(self, label: int, size: float, spread: float) -> None:
        """Paint an object where it leaves enough of the others, or leave it out.

        spread: how far its center may be from the image's, as a fraction of the side.
        """
        look = object_look(KINDS[label], self.difficulty, self.rng)
        patch = draw_patch(look, size, self.light, self.rng)
        for _ in range(ATTEMPTS):
            x, y = self.side * (0.5 + self.rng.uniform(-spread, spread, 2))
            if self._leaves_enough(patch, x, y):
                break
        else:
            return
        number = len(self.objects) + 1
        inside = self._paint(patch, x, y, number)
        area = int(np.count_nonzero(patch.coverage > 0.5))
        self.objects.append(SceneObject(label=label, area=area, inside=inside))
        if self.rng.random() < self.difficulty.occlusion:
            angle = within(self.rng, (0, 6.28))
            reach = size * within(self.rng, (0.35, 0.5))
            self.add_clutter(
                size * within(self.rng, (0.3, 0.7)),
                x + reach * np.cos(angle),
                y + reach * np.sin(angle),
            )

    def _leaves_enough(self, patch: Patch, x: float, y: float) -> bool:
        there, here = _overlap(self.side, patch.coverage.shape, x + patch.left, y + patch.top)
        covered = self.ids[there][patch.coverage[here] > 0.5]
        hidden = np.bincount(covered, minlength=len(self.objects) + 1)[1:]
        if not hidden.any():
            return True
        visible = np.bincount(self.ids.ravel(), minlength=len(self.objects) + 1)[1:]
        return all(
            not lost or left - lost >= MINIMUM_VISIBLE * item.area
            for lost, left, item in zip(hidden, visible, self.objects, strict=True)
        )

    def _paint(self, patch: Patch, x: float, y: float, number: int) -> int:
        """Lay a patch over the picture; returns how many of its pixels lie in the image."""
        self._cast_shadow(patch, x, y)
        there, here = _overlap(self.side, patch.coverage.shape, x + patch.left, y + patch.top)
        coverage = patch.coverage[here]
        region = self.picture[:, *there]
        region += coverage * (patch.color[:, *here] - region)
        owned = coverage > 0.5
        self.ids[there][owned] = number
        return int(np.count_nonzero(owned))

    def _cast_shadow(self, patch: Patch, x: float, y: float) -> None:
        reach = 0.12 * max(patch.coverage.shape)
        margin = max(1, round(0.6 * reach))
        wide = cv2.copyMakeBorder(
            patch.coverage, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0
        )
        shadow = cv2.blur(wide, (2 * margin + 1, 2 * margin + 1), borderType=cv2.BORDER_CONSTANT)
        x, y = x - margin - reach * self.light.x, y - margin - reach * self.light.y
        there, here = _overlap(self.side, shadow.shape, x + patch.left, y + patch.top)
        self.picture[:, *there] *= 1 - 0.7 * self.light.strength * shadow[here]


def render_scene(
    counts: TaskCounts,
    difficulty: Difficulty,
    rng: np.random.Generator,
    *,
    label: int | None = None,
) -> Scene:
    """Draw one scene. With `label` it has a single main object of that class, near its center."""
    stage = _Stage(counts.image_size, draw_light(difficulty, rng), difficulty, rng)
    side = counts.image_size
    density = within(rng, difficulty.clutter)
    for _ in range(int(rng.poisson(density * side * side / 1000))):
        x, y = rng.uniform(0, side, 2)
        stage.add_clutter(_log_uniform(rng, 8, 0.6 * counts.object_size[1]), x, y)
    if label is not None:
        size = within(rng, counts.object_size)
        stage.add_object(label, size, spread=0.5 * max(0.1, 1.1 - size / side))
    else:
        for _ in range(int(rng.integers(counts.objects[0], counts.objects[1] + 1))):
            size = _log_uniform(rng, *counts.object_size)
            stage.add_object(int(rng.integers(len(KINDS))), size, spread=0.47)
    return Scene(
        image=expose(stage.picture, difficulty, rng),
        ids=stage.ids,
        objects=tuple(stage.objects),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def _overlap(
    side: int, shape: tuple[int, ...], left: float, top: float
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch of `shape` meets the image: slices of the image and of the patch."""
    slices = []
    for start, length in ((round(top), shape[0]), (round(left), shape[1])):
        low, high = max(0, start), min(side, start + length)
        high = max(low, high)
        slices.append((slice(low, high), slice(low - start, high - start)))
    (rows, patch_rows), (columns, patch_columns) = slices
    return (rows, columns), (patch_rows, patch_columns)
