"""What can be said of image files without any model: size, light, and a hash of what they show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.dataset_files import read_data
from benchmarks.errors import DataError
from benchmarks.image_files import MOST_IMAGE_BYTES
from benchmarks.pixels import EncodedImage, Pixels
from benchmarks.worker_pool import usable_processes

FACTS = ("width", "height", "brightness", "contrast", "hash", "content")

_HASHED_SIDE = 32
_FREQUENCIES = 8
_SHORTEST_SIDE = 64  # of what is decoded, in pixels: the hash is of half of it


def image_facts(paths: Sequence[Path]) -> dict[str, npt.NDArray[Any]]:
    """Each image's facts by name, (n,) in the order of the paths; each file is read once.

    width, height: int32, in pixels as shown; both 0 for a file that cannot be read, whose other
    facts say nothing. brightness: float32, mean of the grey values in percent, black 0 to white
    100. contrast: float32, their standard deviation in percent of the same range, at most 50, both
    of the image shrunk to 64 pixels on its shorter side, so that a picture has one contrast in
    whatever size it comes.
    hash: uint64, see `perceptual_hash`. content: uint64, the first 8 bytes of the file's sha256.
    """
    # OpenCV leaves the other threads alone while it decodes.
    with ThreadPoolExecutor(usable_processes()) as pool:
        rows = list(pool.map(_facts, paths))
    types = (np.int32, np.int32, np.float32, np.float32, np.uint64, np.uint64)
    columns = zip(*rows, strict=True) if rows else ((),) * len(FACTS)
    return {
        name: np.array(column, kind)
        for name, kind, column in zip(FACTS, types, columns, strict=True)
    }


def perceptual_hash(grey: Pixels) -> int:
    """64 bits that stay about the same when an image is scaled, recompressed or made brighter.

    grey: (H, W). The lowest 8 x 8 frequencies of a cosine transform of 32 x 32 pixels, each above
    their median or not: what is known as pHash (Zauner 2010, section 3.2.1).
    """
    side = (_HASHED_SIDE, _HASHED_SIDE)
    small = cv2.resize(grey, side, interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:_FREQUENCIES, :_FREQUENCIES].ravel()
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def _shrunk(grey: Pixels) -> Pixels:
    """To `_SHORTEST_SIDE`; smaller ones stay as they are."""
    scale = _SHORTEST_SIDE / min(grey.shape)
    if scale >= 1:
        return grey
    height, width = grey.shape
    side = (round(scale * width), round(scale * height))
    shrunk: Pixels = cv2.resize(grey, side, interpolation=cv2.INTER_AREA)
    return shrunk


def _facts(path: Path) -> tuple[int, int, float, float, int, int]:
    try:
        data = read_data(path, most_bytes=MOST_IMAGE_BYTES)
        image = EncodedImage(path, data)
        grey = image.small_grey(_SHORTEST_SIDE)
    except DataError:
        return 0, 0, 0.0, 0.0, 0, 0
    height, width, _ = image.shape
    mean, deviation = cv2.meanStdDev(_shrunk(grey))
    content = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    percent = 100 / 255
    light, spread = percent * float(mean.item()), percent * float(deviation.item())
    return width, height, light, spread, perceptual_hash(grey), content
