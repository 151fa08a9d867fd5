"""The few images of a test set that are kept to be looked at: which, and as small pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pixels import Pixels, read_bgr

SAMPLES = 6
LONGEST_SIDE = 320
"""Of a picture, in pixels."""
_QUALITY = 85


def sample_places(names: Iterable[str]) -> tuple[int, ...]:
    """Where in `names` the samples stand, rising: those of the smallest sha256.

    So every run on the same images shows the same ones, wherever they lie, and nobody chose them.
    """
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    return tuple(sorted(sorted(range(len(digests)), key=digests.__getitem__)[:SAMPLES]))


def names_below(root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Paths as they are called within a data set, whatever folder it lies in."""
    return tuple(Path(path).relative_to(root).as_posix() for path in paths)


def picture_size(height: int, width: int, *, longest: int = LONGEST_SIDE) -> tuple[int, int]:
    """(height, width) of the picture of an image of that size; none is enlarged."""
    scale = min(1.0, longest / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def sample_picture(path: Path, *, longest: int = LONGEST_SIDE) -> bytes:
    """A JPEG of an image, as small as `picture_size` says. Raises DataError naming the file."""
    image = read_bgr(path)
    height, width = picture_size(*image.shape[:2], longest=longest)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done, "OpenCV writes JPEG"
    return data.tobytes()


def small_mask(mask: Pixels) -> Pixels:
    """(h, w): a mask of an image in the size of its picture, by the nearest pixel."""
    height, width = picture_size(*mask.shape)
    small: Pixels = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(small)
