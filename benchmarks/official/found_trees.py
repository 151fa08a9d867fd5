"""Data sets that are unpacked already, in the layouts in which they usually lie."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.errors import DataError
from benchmarks.official.releases import Release
from benchmarks.official.validation_labels import DEVKIT, KAGGLE, labels_beside

_PLACES = {
    "imagenet": (".", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"),
    "voc": (".", "VOCdevkit"),
    "ade20k": (".", "ADEChallengeData2016", "ade/ADEChallengeData2016"),
}
"""Below the folder that is given; the third of ImageNet is Kaggle's."""
_PARTS = {
    "imagenet": ("train", "val"),
    "voc": ("VOC2007/ImageSets", "VOC2012/ImageSets"),
    "ade20k": ("images/training", "images/validation"),
}
_LEVELS_TO_KAGGLE = 3


def find_tree(release: Release, source: Path) -> Path | None:
    """Where in `source` the data set lies unpacked, None where it does not."""
    for place in _PLACES[release.dataset]:
        if all((source / place / part).is_dir() for part in _PARTS[release.dataset]):
            return source / place
    return None


def has_flat_validation(release: Release, tree: Path) -> bool:
    """Whether it is ImageNet with all validation images in one folder, as they are published."""
    if release.dataset != "imagenet" or not (tree / "val").is_dir():
        return False
    with os.scandir(tree / "val") as entries:
        return any(entry.name.startswith("ILSVRC2012_val_") for entry in entries)


def labels_of_flat(release: Release, tree: Path, source: Path) -> dict[str, str]:
    """The class of each validation image of such a tree, from a list beside it.

    Raises DataError where there is none, saying what is looked for.
    """
    above = list(tree.resolve().parents[:_LEVELS_TO_KAGGLE])
    labels = labels_beside([source, tree, *above], release)
    if labels is None:
        raise DataError(
            f"{tree / 'val'} holds all validation images in one folder, and nothing says which "
            f"class each is of: put {release.archives[2].name}, unpacked as {DEVKIT}/, or Kaggle's "
            f"{KAGGLE} into {source}"
        )
    return labels


def link_classes(tree: Path, labels: dict[str, str], folder: Path) -> None:
    """`folder` with train/ and val/<class>/ that lead to the images of `tree`, which stays as it
    is. Raises DataError for an image that is not there."""
    folder.mkdir(parents=True)
    (folder / "train").symlink_to((tree / "train").resolve(), target_is_directory=True)
    images = (tree / "val").resolve()
    there = set(os.listdir(images))
    if lost := sorted(set(labels) - there):
        more = f" and {len(lost) - 10:,} more" if len(lost) > 10 else ""
        raise DataError(
            f"{len(lost):,} validation images are missing from {images}: "
            f"{', '.join(lost[:10])}{more}"
        )
    for wnid in set(labels.values()):
        (folder / "val" / wnid).mkdir(parents=True)
    for name, wnid in labels.items():
        (folder / "val" / wnid / name).symlink_to(images / name)
