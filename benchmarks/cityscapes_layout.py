"""The Cityscapes layout: `{leftImg8bit,gtFine}/{train,val}/<city>`, annotations as label ids.

Of gtFine only `*_labelIds.png` is read, so that the data is used as it is published: MMSegmentation
reads `*_labelTrainIds.png`, which a script of cityscapesScripts makes out of the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.cityscapes_labels import LABEL_IDS
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
    "leftImg8bit/train/<city>/*_leftImg8bit.png, leftImg8bit/val likewise, and for each a "
    "*_gtFine_labelIds.png of the same name in gtFine"
)
SPLITS = ("train", "val")
_IMAGE, _ANNOTATION = "_leftImg8bit.png", "_gtFine_labelIds.png"


def list_split(root: Path, split: str) -> tuple[Sample, ...]:
    """The pairs of `train` or `val`, sorted by city and name; one of the two may be missing.

    Raises DataError: a missing or empty folder.
    """
    require_folder(root, f"a data set in the Cityscapes layout: {LAYOUT}")
    for part in ("leftImg8bit", "gtFine"):
        require_folder(root / part / split, f"a part of the Cityscapes layout: {LAYOUT}")
    images = _stems(root / "leftImg8bit" / split, _IMAGE)
    annotations = _stems(root / "gtFine" / split, _ANNOTATION)
    if not images:
        raise DataError(f"{root / 'leftImg8bit' / split} holds no images; expected {LAYOUT}")
    return tuple(
        Sample(
            split=split,
            image=f"leftImg8bit/{split}/{stem}{_IMAGE}",
            annotation=f"gtFine/{split}/{stem}{_ANNOTATION}",
        )
        for stem in sorted(images | annotations)
    )


def meaning(classes: Sequence[str]) -> tuple[int, ...]:
    """(256,): by label id; what `classes` does not name is other.

    Raises KeyError for what is no label of Cityscapes.
    """
    values = [UNKNOWN] * (IGNORED + 1)
    for known in (*LABEL_IDS.values(), IGNORED):
        values[known] = OTHER
    for number, name in enumerate(classes, start=1):
        values[LABEL_IDS[name]] = number
    return tuple(values)


def stage_data(root: Path, classes: tuple[str, ...]) -> StageData:
    """The images and annotations of both splits. Raises DataError as `list_split` does."""
    samples = tuple(sample for split in SPLITS for sample in list_split(root, split))
    return StageData(
        files=DatasetFiles(root=root, samples=samples),
        unit="pixels",
        test="val",
        classes=classes,
        inspect=partial(inspect_pair, root, classes, meaning(classes)),
        conclude=partial(require_classes, [root / "gtFine" / s for s in SPLITS], SPLITS),
        question=["cityscapes", *classes],
    )


def _stems(folder: Path, suffix: str) -> set[str]:
    """`<city>/<name>` of the files that end in `suffix`."""
    stems: set[str] = set()
    with os.scandir(folder) as cities:
        for city in cities:
            if not city.is_dir() or city.name.startswith("."):
                continue
            names = [n for n in os.listdir(city) if n.endswith(suffix) and not n.startswith(".")]
            require_plain_names([city.name, *names], folder)
            stems |= {f"{city.name}/{name.removesuffix(suffix)}" for name in names}
    return stems
