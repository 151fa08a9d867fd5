"""The ADE20K layout: `{images,annotations}/{training,validation}`, annotations as index PNGs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.dataset_files import (
    DatasetFiles,
    Sample,
    StageData,
    require_folder,
    require_plain_names,
)
from benchmarks.errors import DataError
from benchmarks.labelled_pixels import (
    IGNORED,
    OTHER,
    UNKNOWN,
    inspect_pair,
    require_classes,
)

LAYOUT = (
    "images/training/*.jpg, images/validation/*.jpg and a PNG of the same name for each in "
    "annotations/training, annotations/validation"
)
SPLITS = ("training", "validation")


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


def meaning(classes: Sequence[str]) -> tuple[int, ...]:
    """(256,): 0 is other, as 255 is, and 1..K are the classes in their order."""
    count = len(classes)
    return (OTHER, *range(1, count + 1), *[UNKNOWN] * (IGNORED - 1 - count), OTHER)


def stage_data(root: Path, classes: tuple[str, ...]) -> StageData:
    """The images and annotations of both splits. Raises DataError as `list_split` does."""
    samples = tuple(sample for split in SPLITS for sample in list_split(root, split))
    return StageData(
        files=DatasetFiles(root=root, samples=samples),
        unit="pixels",
        test="validation",
        classes=classes,
        inspect=partial(inspect_pair, root, classes, meaning(classes)),
        conclude=partial(require_classes, [root / "annotations" / s for s in SPLITS], SPLITS),
        question=[len(classes)],
    )


def _stems(folder: Path, suffix: str) -> set[str]:
    names = [n for n in os.listdir(folder) if n.endswith(suffix) and not n.startswith(".")]
    require_plain_names(names, folder)
    return {name.removesuffix(suffix) for name in names}
