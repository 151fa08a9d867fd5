"""One test image as all the scores take it: what was found beside what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ScoredImage:
    """Corners are x1, y1, x2, y2 in pixels of the original image.

    boxes: (n, 4) detections; scores, labels: (n,). truth: (m, 4) objects; truth_labels: (m,);
    difficult: (m,) bool, objects that neither count nor harm. size: height and width.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    truth_labels: np.ndarray
    difficult: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Stacked:
    """The detections and objects of all images, one after another.

    The arrays are those of ScoredImage; image and truth_image say to which image a row belongs.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    truth_labels: np.ndarray
    difficult: np.ndarray
    image: np.ndarray
    truth_image: np.ndarray


def stack(images: Sequence[ScoredImage]) -> Stacked:
    """Of at least one image."""
    columns = {
        field.name: np.concatenate([getattr(image, field.name) for image in images])
        for field in fields(ScoredImage)
        if field.name != "size"
    }
    numbers = np.arange(len(images))
    return Stacked(
        **columns,
        image=np.repeat(numbers, [len(image.scores) for image in images]),
        truth_image=np.repeat(numbers, [len(image.truth) for image in images]),
    )
