"""Images beside index PNGs of one value a pixel: what the layouts that have them share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.dataset_files import Finding, Sample, StageData
from benchmarks.errors import DataError
from benchmarks.image_files import check_image

IGNORED = 255
"""A value that counts as other in every layout."""

OTHER, UNKNOWN = 0, -1


class PixelLayout(Protocol):
    """What a module such as benchmarks/ade20k_layout.py offers."""

    SPLITS: tuple[str, str]
    """What is learnt, and what is scored."""

    def list_split(self, root: Path, split: str) -> tuple[Sample, ...]:
        """Its pairs, sorted by image. Raises DataError."""

    def meaning(self, classes: Sequence[str]) -> tuple[int, ...]:
        """(256,): for each value of an annotation which class it is, from 1; OTHER or UNKNOWN."""

    def stage_data(self, root: Path, classes: tuple[str, ...]) -> StageData:
        """Both splits. Raises DataError as `list_split` does."""


def inspect_pair(
    root: Path, classes: tuple[str, ...], meaning: tuple[int, ...], sample: Sample
) -> Finding:
    """Image and annotation are whole and fit each other, and each value is known.

    Decodes the annotation. Raises DataError naming the file.
    """
    assert sample.annotation is not None, "every image has an annotation"
    image, annotation = root / sample.image, root / sample.annotation
    if not image.exists():
        raise DataError(f"no image {image} for {annotation}")
    if not annotation.exists():
        raise DataError(f"no annotation {annotation} for {image}")
    size, annotated = check_image(image).shown, check_image(annotation).shown
    if size != annotated:
        raise DataError(
            f"{annotation} has {annotated[0]}x{annotated[1]} pixels, its image {image} "
            f"{size[0]}x{size[1]}; an annotation has one pixel per pixel"
        )
    import numpy as np

    from benchmarks.pixels import read_indices

    pixels = np.bincount(read_indices(annotation).ravel(), minlength=IGNORED + 1).tolist()
    require_known_values(annotation, pixels, meaning)
    counts: dict[str, int] = {}
    for value, count in enumerate(pixels):
        if count and (number := meaning[value]) > OTHER:
            counts[classes[number - 1]] = counts.get(classes[number - 1], 0) + count
    return Finding(counts=counts)


def require_known_values(annotation: Path, pixels: Sequence[int], meaning: Sequence[int]) -> None:
    """DataError for a value that means nothing; pixels: how often each occurs, from 0."""
    unknown = [value for value, count in enumerate(pixels) if count and meaning[value] == UNKNOWN]
    if unknown:
        known = [value for value, number in enumerate(meaning[:IGNORED]) if number != UNKNOWN]
        raise DataError(
            f"{annotation} holds index {unknown[0]}, the benchmark names {max(meaning)} classes "
            f"and its layout knows {known[0]}..{known[-1]} and {IGNORED}"
        )


def require_classes(
    folders: Sequence[Path], splits: Sequence[str], found: Iterable[tuple[Sample, Finding]]
) -> tuple[str, ...]:
    """DataError for a split, whose annotations are in the folder of the same place, without a
    single pixel of a class. No warnings."""
    found = list(found)
    for folder, split in zip(folders, splits, strict=True):
        if not any(finding.counts for sample, finding in found if sample.split == split):
            raise DataError(f"the annotations of {folder} hold no class")
    return ()
