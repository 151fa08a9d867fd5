"""Pairs of images that show the same, by hashes of what they show and of their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_BITS = 6
"""That the hashes of a pair differ in. Of 4.8 million pairs of different photographs of Imagenette
none is as near; nearly all copies that are recompressed, scaled or brighter are."""
_LEAST_CONTRAST = 1.0  # percent: what is flatter hardly shows anything that could be told apart
_LARGEST_BLOCK = 2**17  # pairs at once, which fit a cache


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """m pairs, the nearest first, all (m,): places among the images that were given, first below
    second, and in how many of 64 bits they differ: -1 where the files are the same byte by byte.
    """

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    distance: npt.NDArray[np.intp]


def near_duplicates(facts: Mapping[str, npt.NDArray[Any]]) -> NearDuplicates:
    """facts: of `benchmarks.image_facts`, (n,). Compares all pairs: some seconds for 20,000
    images. What could not be read is in no pair; flat images only where their bytes are the same.
    """
    (known,) = np.nonzero(facts["width"] > 0)
    hashes, content = facts["hash"][known], facts["content"][known]
    flat = facts["contrast"][known] < _LEAST_CONTRAST
    found = []
    step = max(1, _LARGEST_BLOCK // max(1, len(known)))
    for start in range(0, len(known), step):
        bits = np.bitwise_count(hashes[start : start + step, None] ^ hashes[start:])
        one, other = np.nonzero(bits <= MOST_BITS)  # the same bytes have the same hash
        distance = bits[one, other].astype(np.intp)
        one, other = one + start, other + start
        same = content[one] == content[other]
        distance[same] = -1
        kept = (one < other) & (same | ~(flat[one] | flat[other]))
        one, other, distance = one[kept], other[kept], distance[kept]
        found.append(np.stack([known[one], known[other], distance]))
    pairs = np.concatenate(found, axis=1) if found else np.zeros((3, 0), np.intp)
    first, second, distance = pairs[:, np.lexsort((pairs[1], pairs[0], pairs[2]))]
    return NearDuplicates(first=first, second=second, distance=distance)
