"""How a segmentor labeled the pixels of each image, as evidence beside its result, and back.

Arrays, of n images and K classes: `intersection`, `predicted`, `labeled`, `boundary_intersection`,
`boundary_union` (n, K), pixels; `confusion` (K, K), pixels, rows = label, columns = prediction;
`sample_prediction/<place>`, `sample_truth/<place>` (h, w): class numbers of the image of that
place, 255 = ignored, in the size of its picture, the JPEG `sample/<place>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.evidence import Evidence

COUNTS = ("intersection", "predicted", "labeled", "boundary_intersection", "boundary_union")


@dataclass(frozen=True, kw_only=True)
class ImageCounts:
    """path: of the image's file. counts: (5, K) pixels, its rows COUNTS.

    pairs: the places in a flat (K, K) confusion that are not 0, and their pixels. masks:
    prediction and truth as the picture shows them; None but of the samples.
    """

    path: str
    counts: npt.NDArray[np.int64]
    pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    masks: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None


def segmentation_evidence(
    tested: Sequence[ImageCounts], *, classes: Sequence[str], root: Path
) -> Evidence:
    """Of the images of a test, in their order. root: of the data set."""
    from benchmarks.sample_pictures import names_below, sample_picture

    counts = np.stack([image.counts for image in tested], axis=1).astype(np.int32)
    confusion = np.zeros(len(classes) ** 2, np.int64)
    for image in tested:
        places, pixels = image.pairs
        confusion[places] += pixels
    arrays = {**dict(zip(COUNTS, counts, strict=True))}
    arrays["confusion"] = confusion.reshape(len(classes), -1)
    pictures = {}
    for place, image in enumerate(tested):
        if image.masks is not None:
            pictures[f"sample/{place}"] = sample_picture(Path(image.path))
            for name, mask in zip(("prediction", "truth"), image.masks, strict=True):
                arrays[f"sample_{name}/{place}"] = mask
    return Evidence(
        task="segmentation",
        classes=tuple(classes),
        images=names_below(root, [image.path for image in tested]),
        arrays=arrays,
        pictures=pictures,
    )


def class_shares(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """(K,) percent from pixels (n, K) of images; NaN for a class without any pixel."""
    hits, pixels = (counts.sum(axis=0, dtype=np.float64) for counts in (intersection, union))
    shares = np.full(hits.shape, np.nan)
    np.divide(100 * hits, pixels, out=shares, where=pixels > 0)
    return shares


def mean_present(shares: np.ndarray) -> float | None:
    """Over the classes that have pixels; None where none has any."""
    present = shares[~np.isnan(shares)]
    return float(present.mean()) if present.size else None
