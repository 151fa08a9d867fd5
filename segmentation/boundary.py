"""Boundary IoU after Cheng et al. 2021 (arXiv:2103.16562): IoU of what lies near the outlines.

A mask's boundary is what an erosion takes away: its pixels within `width` of another label or of
the image's edge, by the larger of the two offsets. All classes of a label map are eroded at once:
a pixel keeps its class if the least and the greatest label around it are the same.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

WIDTH = 0.02
"""Of the boundary, as a share of the image's diagonal; the paper's."""
_OUTSIDE = 255

Mask = npt.NDArray[np.uint8]


def boundary_counts(predicted: Mask, labeled: Mask, classes: int) -> npt.NDArray[np.int64]:
    """(2, classes): pixels of the intersection and of the union of both maps' boundaries.

    predicted, labeled: (H, W) class numbers; where the label is 255 neither map counts, so that
    what is ignored is an edge to both.
    """
    known = np.where(labeled == _OUTSIDE, np.uint8(_OUTSIDE), predicted)
    width = max(1, round(WIDTH * math.hypot(*labeled.shape)))
    ours, truth = near_outlines(known, width), near_outlines(labeled, width)

    def count(labels: Mask) -> npt.NDArray[np.int64]:
        return np.bincount(labels, minlength=256)[:classes]

    both = count(labeled[ours & truth & (known == labeled)])
    return np.stack([both, count(known[ours]) + count(labeled[truth]) - both])


def near_outlines(labels: Mask, width: int) -> npt.NDArray[np.bool_]:
    """(H, W): which pixels lie within `width` pixels of another label or of the image's edge."""
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    least = cv2.erode(labels, square)
    edge = {"borderType": cv2.BORDER_CONSTANT, "borderValue": _OUTSIDE}
    greatest = cv2.dilate(labels, square, **edge)
    near: npt.NDArray[np.bool_] = least != greatest
    return near
