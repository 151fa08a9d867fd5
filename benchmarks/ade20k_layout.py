"""The ADE20K layout: `{images,annotations}/{training,validation}`, annotations as index PNGs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from benchmarks.dataset_files import (
    DatasetFiles,
    Finding,
    Sample,
    StageData,
    require_folder,
    require_plain_names,
)
from benchmarks.errors import DataError
from benchmarks.image_files import check_image

LAYOUT = (
    "images/training/*.jpg, images/validation/*.jpg and a PNG of the same name for each in "
    "annotations/training, annotations/validation"
)
SPLITS = ("training", "validation")
IGNORED = 255
"""An index that counts as other too, beside 0."""


def list_split(root: Path, split: str) -> tuple[Sample, ...]:
    """The pairs of `training` or `validation`, sorted by name; one of the two may be missing.

    Raises DataError: a missing or empty folder.
    """
    require_folder(root, f"a data set in the ADE20K layout: {LAYOUT}")
    for part in ("images", "annotations"):
        require_folder(root / part / split, f"a part of the ADE20K layout: {LAYOUT}")
    images = _stems(root / "images" / split, ".jpg")
    annotations = _stems(root / "annotations" / split, ".png")
    if not images:
        raise DataError(f"{root / 'images' / split} holds no images; expected {LAYOUT}")
    return tuple(
        Sample(
            split=split,
            image=f"images/{split}/{stem}.jpg",
            annotation=f"annotations/{split}/{stem}.png",
        )
        for stem in sorted(images | annotations)
    )


def stage_data(root: Path, classes: tuple[str, ...]) -> StageData:
    """The images and annotations of both splits. Raises DataError as `list_split` does."""
    samples = tuple(sample for split in SPLITS for sample in list_split(root, split))
    return StageData(
        files=DatasetFiles(root=root, samples=samples),
        unit="pixels",
        test="validation",
        classes=classes,
        inspect=partial(_inspect, root, classes),
        conclude=partial(_conclude, root),
        question=[len(classes)],
    )


def _inspect(root: Path, classes: tuple[str, ...], sample: Sample) -> Finding:
    """Image and annotation are whole and fit each other, which holds 0..K or 255.

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
    require_known_indices(annotation, pixels, len(classes))
    counts = {name: pixels[index] for index, name in enumerate(classes, 1) if pixels[index]}
    return Finding(counts=counts)


def require_known_indices(annotation: Path, pixels: list[int], classes: int) -> None:
    """DataError unless only 0..`classes` and 255 occur; pixels: how often, by index."""
    unknown = [i for i, n in enumerate(pixels[:IGNORED]) if n and i > classes]
    if unknown:
        raise DataError(
            f"{annotation} holds index {unknown[0]}, the benchmark names {classes} classes "
            f"(1..{classes}; 0 is other)"
        )


def _conclude(root: Path, found: Iterable[tuple[Sample, Finding]]) -> tuple[str, ...]:
    """DataError for a split without a single pixel of a class. No warnings."""
    found = list(found)
    for split in SPLITS:
        if not any(finding.counts for sample, finding in found if sample.split == split):
            raise DataError(f"the annotations of {root / 'annotations' / split} hold no class")
    return ()


def _stems(folder: Path, suffix: str) -> set[str]:
    names = [n for n in os.listdir(folder) if n.endswith(suffix) and not n.startswith(".")]
    require_plain_names(names, folder)
    return {name.removesuffix(suffix) for name in names}
