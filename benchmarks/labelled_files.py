"""Which files `[finetune]` of a benchmark names, each with its class, its split and its group.

Three ways to name them: the ImageNet layout (`train/<class>/*` and, where there are test images,
`val/<class>/*`), a folder of class folders, or a CSV file (labelled_csv.py).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.dataset_files import require_folder
from benchmarks.errors import DataError
from benchmarks.file_index import file_index
from benchmarks.image_files import IMAGE_SUFFIXES
from benchmarks.labelled_csv import LabelledFile, Split, listed_rows, read_csv
from benchmarks.schema import FineTuneBudget

LAYOUTS = (
    "train/<class>/*.jpg with or without val/<class>/*.jpg, or <class>/*.jpg (also .jpeg, .png)"
)
SPLIT_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}
OTHER_FORMATS = frozenset(
    (
        *(".webp", ".tif", ".tiff", ".gif", ".bmp", ".heic", ".heif", ".avif", ".jp2", ".jxl"),
        *(".svg", ".ico", ".raw", ".cr2", ".nef", ".dng"),
    )
)
"""Suffixes of images that are not read."""


def listed_files(budget: FineTuneBudget) -> tuple[LabelledFile, ...]:
    """Every labelled image, sorted by class and path."""
    root = budget.root
    if root != budget.folder:
        files = read_csv(root)
    elif root.is_file():
        raise DataError(f"{root} is a file: expected a .csv file, or a folder that holds {LAYOUTS}")
    else:
        require_folder(root, LAYOUTS)
        files = tuple(_in_folders(root))
    _check_classes(root, files)
    return tuple(sorted(files, key=lambda file: (file.label, file.image)))


def divided(
    budget: FineTuneBudget, files: Iterable[LabelledFile]
) -> tuple[list[LabelledFile], list[LabelledFile]]:
    """The files that are not left out, and of those the training images that do not count as
    labelled: which they are follows from the images' names, so that it is the same in every run."""
    left_out, most = frozenset(budget.left_out), budget.labelled_per_class
    files = [file for file in files if file.image not in left_out]
    if most is None:
        return files, []
    by_class: dict[str, list[str]] = {}
    for file in files:
        if file.split == "train":
            by_class.setdefault(file.label, []).append(file.image)
    drawn = {name for names in by_class.values() for name in sorted(names, key=_draw)[:most]}
    counted = [file for file in files if file.split != "train" or file.image in drawn]
    return counted, [file for file in files if file.split == "train" and file.image not in drawn]


def _draw(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()


def _in_folders(root: Path) -> Iterator[LabelledFile]:
    there = {split: (root / name).is_dir() for split, name in SPLIT_FOLDERS.items()}
    if not any(there.values()):
        yield from _of_folder(root, "", "train")
        return
    if not there["train"]:
        raise DataError(
            f"{root} has a folder val and no folder train; expected {LAYOUTS}, and the images to "
            "learn from in train"
        )
    if (root / "test").is_dir():
        raise DataError(
            f"{root / 'test'} would not be read: the test images lie in val, and the images to "
            "validate on are taken out of train; rename it to val, or move it elsewhere"
        )
    for split, name in SPLIT_FOLDERS.items():
        if there[split]:
            yield from _of_folder(root / name, f"{name}/", split)


def _of_folder(folder: Path, before: str, split: Split) -> Iterator[LabelledFile]:
    test = split == "test"
    layouts = f"{LAYOUTS}; remove {folder.name}/ if there are no test images" if test else LAYOUTS
    try:
        index = file_index(folder, layouts, least_classes=1 if test else 2)
    except DataError as error:
        raise _of_other_formats(folder, error) from error
    for label, name in enumerate(index.classes):
        for file in index.names[slice(*index.span(label))]:
            yield LabelledFile(image=f"{before}{name}/{file}", label=name, split=split)


def _of_other_formats(folder: Path, error: DataError) -> DataError:
    """The error about a class without images, saying so where it has some that are not read."""
    place = Path(str(error).partition(" holds no images; ")[0])
    said = of_other_formats(place) if place.parent == folder and place.is_dir() else ""
    return DataError(f"{place} holds no images: {said}; convert such files") if said else error


def _check_classes(root: Path, files: Sequence[LabelledFile]) -> None:
    """DataError: fewer than two classes, or one that only the test images have."""
    learnt = {file.label for file in files if file.split == "train"}
    if lost := sorted({file.label for file in files} - learnt):
        raise DataError(
            f"{root}: no training image of {listed_rows(lost)}, of which there are test images; "
            "every class needs images to learn from"
        )
    if len(learnt) < 2:
        raise DataError(
            f"{root} has {len(learnt)} class ({', '.join(learnt)}), at least 2 are needed"
        )


def classes_of(files: Iterable[LabelledFile]) -> tuple[str, ...]:
    return tuple(sorted({file.label for file in files}))


def images_below(folder: Path) -> Iterator[Path]:
    for where, name in _files_below(folder):
        if name.lower().endswith(IMAGE_SUFFIXES):
            yield Path(where, name)


def of_other_formats(*folders: Path) -> str:
    """How many images below the folders are not read for their format, in words; empty where there
    are none, and for files that are no images."""
    found = (
        os.path.splitext(name)[1].lower() for folder in folders for _, name in _files_below(folder)
    )
    counts = Counter(suffix for suffix in found if suffix in OTHER_FORMATS)
    if not counts:
        return ""
    files, which = counts.total(), ", ".join(sorted(counts))
    if files == 1:
        return f"1 file is not JPEG or PNG ({which}) and is not used"
    return f"{files:,} files are not JPEG or PNG ({which}) and are not used"


def _files_below(folder: Path) -> Iterator[tuple[str, str]]:
    """(folder, name) of what is not hidden."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield where, name
