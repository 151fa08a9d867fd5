"""The ImageNet layout: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
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
from benchmarks.image_files import IMAGE_SUFFIXES, check_image

LAYOUT = "train/<class>/*.JPEG and val/<class>/*.JPEG (also .jpg, .jpeg, .png)"
SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class ImageNetIndex:
    """One split, sorted by class and by name.

    classes: the names of the class folders; samples: (path, label), a label being a position in
    `classes`.
    """

    classes: tuple[str, ...]
    samples: list[tuple[Path, int]]


def read_index(root: Path, split: str, *, left_out: Collection[str] = ()) -> ImageNetIndex:
    """List `train` or `val`, without the images named in `left_out` (relative to the root).

    Raises DataError: a folder is missing or holds no images.
    """
    classes, names = _list_split(root, split)
    return ImageNetIndex(
        classes=classes,
        samples=[
            (root / split / classes[label] / name, label)
            for label, name in names
            if not left_out or f"{split}/{classes[label]}/{name}" not in left_out
        ],
    )


def stage_data(root: Path) -> StageData:
    """The images of both splits; the labels are in the paths, so that there are no annotations.

    Raises DataError as `read_index` does, and for a class that only one of the splits has.
    """
    listed = {split: _list_split(root, split) for split in SPLITS}
    for split, other in (("val", "train"), ("train", "val")):
        extra = sorted(set(listed[split][0]) - set(listed[other][0]))
        if extra:
            raise DataError(
                f"{root / split / extra[0]} is a class that {root / other} does not have; "
                "both must have the same class folders"
            )
    samples = [
        Sample(split=split, image=f"{split}/{classes[label]}/{name}")
        for split, (classes, names) in listed.items()
        for label, name in names
    ]
    return StageData(
        files=DatasetFiles(root=root, samples=tuple(samples)),
        unit="images",
        test="val",
        classes=listed["train"][0],
        inspect=partial(_inspect, root),
        conclude=partial(_conclude, root, listed["train"][0]),
    )


def _inspect(root: Path, sample: Sample) -> Finding:
    check_image(root / sample.image)
    return Finding(counts={sample.image.split("/")[1]: 1})


def _conclude(
    root: Path, classes: tuple[str, ...], found: list[tuple[Sample, Finding]]
) -> tuple[str, ...]:
    """DataError for a class that has lost its last image. No warnings."""
    left = {(sample.split, name) for sample, finding in found for name in finding.counts}
    for split in SPLITS:
        for name in classes:
            if (split, name) not in left:
                raise DataError(f"no usable image is left in {root / split / name}")
    return ()


def _list_split(root: Path, split: str) -> tuple[tuple[str, ...], list[tuple[int, str]]]:
    """The classes, and (label, file name) of every image."""
    require_folder(root, f"a data set in the ImageNet layout: {LAYOUT}")
    require_folder(root / split, f"one folder of images per class, as in {LAYOUT}")
    with os.scandir(root / split) as entries:
        classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    require_plain_names(classes, root / split)
    if len(classes) < 2:
        raise DataError(
            f"{root / split} has {len(classes)} class folders, at least 2 are needed; "
            f"expected {LAYOUT}"
        )
    names: list[tuple[int, str]] = []
    for label, class_name in enumerate(classes):
        folder = root / split / class_name
        files = sorted(
            file
            for file in os.listdir(folder)
            if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith(".")
        )
        if not files:
            raise DataError(f"{folder} holds no images; expected {LAYOUT}")
        require_plain_names(files, folder)
        names += [(label, file) for file in files]
    return tuple(classes), names
