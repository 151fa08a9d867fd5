"""From a scene's truth to the annotations of Pascal VOC: tight boxes and their flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.mini_world.scenes import Scene

ANNOTATED_PIXELS = 16
"""An object with fewer visible pixels is not annotated, as nobody would see it."""
DIFFICULT_PIXELS = 100
DIFFICULT_FRACTION = 0.4
FLAGGED_FRACTION = 0.95


@dataclass(frozen=True, kw_only=True)
class Box:
    """The visible extent of an object: 1-based pixels, both corners inside, as VOC has them.

    difficult: fewer than DIFFICULT_PIXELS pixels or less than DIFFICULT_FRACTION of the object is
    visible; occluded: other things hide a part; truncated: the image's edge cuts a part off.
    """

    label: int
    x1: int
    y1: int
    x2: int
    y2: int
    difficult: bool
    occluded: bool
    truncated: bool


def scene_boxes(scene: Scene) -> tuple[Box, ...]:
    """The boxes of a scene's annotated objects, from the back to the front."""
    boxes = []
    for number, item in enumerate(scene.objects, start=1):
        rows, columns = np.nonzero(scene.ids == number)
        visible = len(rows)
        if visible < ANNOTATED_PIXELS:
            continue
        boxes.append(
            Box(
                label=item.label,
                x1=int(columns.min()) + 1,
                y1=int(rows.min()) + 1,
                x2=int(columns.max()) + 1,
                y2=int(rows.max()) + 1,
                difficult=visible < max(DIFFICULT_PIXELS, DIFFICULT_FRACTION * item.area),
                occluded=visible < FLAGGED_FRACTION * item.inside,
                truncated=item.inside < FLAGGED_FRACTION * item.area,
            )
        )
    return tuple(boxes)
