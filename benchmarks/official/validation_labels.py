"""Which class each of ImageNet's validation images is of: its archive does not say."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.dataset_files import read_data
from benchmarks.errors import DataError
from benchmarks.official.releases import Release

DEVKIT = "ILSVRC2012_devkit_t12"
KAGGLE = "LOC_val_solution.csv"
_WNID = re.compile(r"n\d{8}")
_MOST_BYTES = 64 * 2**20


def validation_name(number: int) -> str:
    """The file name of a validation image, counted from 1."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def read_devkit(folder: Path, release: Release) -> dict[str, str]:
    """The class folder (a WordNet id) of every validation image, by its file's name.

    folder: the development kit, unpacked. Its list has a number for each image, in their order,
    and meta.mat says which class a number is. Raises DataError naming the file.
    """
    wnids = _wnids(folder / "data" / "meta.mat", release)
    file = folder / "data" / "ILSVRC2012_validation_ground_truth.txt"
    lines = read_data(file, most_bytes=_MOST_BYTES).decode("ascii", errors="replace").split()
    labels = {}
    for number, line in enumerate(lines, 1):
        if not line.isdecimal() or int(line) not in wnids:
            raise DataError(f"{file}, line {number}: no class has the number {line[:20]!r}")
        labels[validation_name(number)] = wnids[int(line)]
    return _of_all(labels, release, file)


def read_kaggle(file: Path, release: Release) -> dict[str, str]:
    """The same from Kaggle's LOC_val_solution.csv."""
    text = read_data(file, most_bytes=_MOST_BYTES).decode("utf-8", errors="replace")
    labels = {}
    for row in csv.DictReader(io.StringIO(text)):
        image, boxes = row.get("ImageId") or "", row.get("PredictionString") or ""
        wnid = boxes.split(" ")[0]
        if not _WNID.fullmatch(wnid):
            raise DataError(f"{file}: no class stands beside the image {image[:40]!r}")
        labels[f"{image}.JPEG"] = wnid
    return _of_all(labels, release, file)


def labels_beside(folders: Iterable[Path], release: Release) -> dict[str, str] | None:
    """The labels from the first of `folders` that holds Kaggle's list or the development kit,
    unpacked; None where none does."""
    for folder in folders:
        if (folder / KAGGLE).is_file():
            return read_kaggle(folder / KAGGLE, release)
        if (folder / DEVKIT / "data").is_dir():
            return read_devkit(folder / DEVKIT, release)
    return None


def _of_all(labels: dict[str, str], release: Release, file: Path) -> dict[str, str]:
    expected = release.counts["val"]
    names = (validation_name(number) for number in range(1, expected + 1))
    if (missing := next((name for name in names if name not in labels), None)) is not None:
        raise DataError(f"{file} names no class for {missing}; {expected:,} images have one")
    if len(labels) != expected:
        raise DataError(f"{file} names {len(labels):,} images, {expected:,} were expected")
    return labels


def _wnids(file: Path, release: Release) -> Mapping[int, str]:
    """WordNet id by number, from 1; what comes above the classes are inner nodes of WordNet."""
    from scipy.io import loadmat

    content = io.BytesIO(read_data(file, most_bytes=_MOST_BYTES))
    try:
        synsets: Any = loadmat(content, variable_names=["synsets"], squeeze_me=True)["synsets"]
        numbers, names = synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist()
        wnids = {int(number): str(name) for number, name in zip(numbers, names, strict=True)}
    except Exception as error:  # scipy's reader raises whatever a damaged file makes it stumble at
        raise DataError(f"{file} holds no list of synsets that can be read: {error}") from error
    wnids = {number: name for number, name in wnids.items() if number <= (release.classes or 0)}
    if odd := [name for name in wnids.values() if not _WNID.fullmatch(name)]:
        raise DataError(f"{file}: {odd[0][:40]!r} is no WordNet id, such as n01440764")
    return wnids
