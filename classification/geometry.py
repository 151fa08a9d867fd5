"""Images turned, shifted, sheared, scaled or seen from an angle, in one interpolation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

from classification.image_operations import MEAN_COLOR

if TYPE_CHECKING:
    import numpy as np

Fill = Literal["mean", "reflect"]


def warp(image: np.ndarray, matrix: np.ndarray, *, fill: Fill) -> np.ndarray:
    """The image where `matrix` takes its pixels, bilinearly.

    image: (H, W, C) uint8, 1 to 4 channels. matrix: (3, 3) homogeneous, maps (x, y, 1) of a
    pixel's centre to its new place. fill: what comes from outside, "mean" (ImageNet's mean colour,
    transparent where there is alpha) or "reflect" (the image's own reflection).
    """
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    border = cv2.BORDER_CONSTANT if fill == "mean" else cv2.BORDER_REFLECT_101
    moved: np.ndarray = cv2.warpPerspective(
        image,
        np.asarray(matrix, np.float64),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=border,
        borderValue=(*MEAN_COLOR, 0),
    )
    return moved


def affine_matrix(
    *,
    height: int,
    width: int,
    degrees: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear: float = 0.0,
) -> np.ndarray:
    """(3, 3): sheared along x, scaled, turned clockwise about the image's centre, then shifted.

    degrees, shear: angles in degrees. shift: (x, y) in pixels. As torchvision's `affine`.
    """
    import numpy as np

    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    linear = scale * turn @ np.array([[1, -math.tan(math.radians(shear))], [0, 1]])
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = center + np.asarray(shift) - linear @ center
    return matrix


def perspective_matrix(corners: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(3, 3) that takes the image's corners to these.

    corners: (4, 2), x and y of the upper left, upper right, lower right and lower left.
    """
    import cv2
    import numpy as np

    right, bottom = width - 1, height - 1
    start = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)
    matrix: np.ndarray = cv2.getPerspectiveTransform(start, np.asarray(corners, np.float32))
    return matrix


def check_fill(fill: str) -> None:
    """Raises ValueError."""
    if fill not in get_args(Fill):
        raise ValueError(f"fill must be 'mean' or 'reflect', not {fill!r}")
