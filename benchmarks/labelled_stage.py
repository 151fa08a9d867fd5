"""The check of one's own labelled images, of both splits: what is an error, what a warning."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.dataset_files import DatasetFiles, Finding, Sample, StageData
from benchmarks.errors import DataError
from benchmarks.image_files import check_image
from benchmarks.known_images import KnownImages
from benchmarks.labelled_csv import LabelledFile, listed_rows, unread_columns
from benchmarks.labelled_files import SPLIT_FOLDERS, classes_of, images_below, listed_files
from benchmarks.schema import FineTuneBudget
from benchmarks.unlabelled_images import look_for_unlabelled, require_unlabelled, unlabelled_facts


def stage_data(budget: FineTuneBudget) -> StageData:
    """The labelled images of both splits, to be checked.

    Raises DataError: no such folder or file, a class of the test images without a training image,
    fewer than two classes, and what `read_csv` and `file_index` raise.
    """
    require_unlabelled(budget)
    files = listed_files(budget)
    classes = classes_of(files)
    is_csv = budget.root != budget.folder
    # The labels of folders are in the paths, those of a CSV file in its content.
    meanings = {budget.root.name: _meaning(files)} if is_csv else {}
    samples = tuple(Sample(split=f.split, image=f.image) for f in files)
    unread = () if is_csv else _below_class_folders(budget.root)
    return StageData(
        files=DatasetFiles(
            root=budget.folder, samples=samples, lists=tuple(meanings), meanings=meanings
        ),
        unit="images",
        classes=classes,
        test="test",
        inspect=partial(_inspect, budget.root, {f.image: (f.label, f.line) for f in files}),
        conclude=partial(_conclude, budget, files, classes, unread),
        question=[
            str(budget.root),
            *unread,
            *unlabelled_facts(budget),
            *map(str, budget.labelled_facts().items()),
        ],
    )


def _meaning(files: Iterable[LabelledFile]) -> str:
    """Of the rows in their sorted order what is read: not its line, nor how the file is written."""
    rows = [(file.image, file.label, file.split, file.group) for file in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _below_class_folders(root: Path) -> tuple[str, ...]:
    """A warning where images lie deeper than in the folder of their class."""
    roots = [root / name for name in SPLIT_FOLDERS.values() if (root / name).is_dir()] or [root]
    counts: Counter[str] = Counter()
    for inside in (
        place for each in roots for at in _folders_in(each) for place in _folders_in(at)
    ):
        for image in images_below(inside):
            counts[image.parent.relative_to(root).as_posix()] += 1
    if not counts:
        return ()
    parents = {name.rpartition("/")[0] for name in counts}
    images, many = counts.total(), len(counts) > 1
    where = f"{parents.pop()}/" if len(parents) == 1 else f"class folders: {listed_rows(counts)}"
    return (
        f"{images:,} image{'s' * (images != 1)} in {len(counts)} folder{'s' * many} inside {where} "
        f"{'are' if images != 1 else 'is'} not read: move them up, or name them in a CSV file",
    )


def _folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))


def _inspect(root: Path, known: Mapping[str, tuple[str, int]], sample: Sample) -> Finding:
    label, line = known[sample.image]
    folder = root if not line else root.parent
    try:
        check_image(folder / sample.image)
    except DataError as error:
        raise DataError(f"{root}, line {line}: {error}" if line else str(error)) from error
    return Finding(counts={label: 1})


def _conclude(
    budget: FineTuneBudget,
    files: Sequence[LabelledFile],
    classes: tuple[str, ...],
    unread: tuple[str, ...],
    found: Iterable[tuple[Sample, Finding]],
) -> tuple[str, ...]:
    """Warnings, `unread` the first; DataError for a class that has lost its last training image."""
    usable = list(found)
    left = {(sample.split, name) for sample, finding in usable for name in finding.counts}
    if lost := [name for name in classes if ("train", name) not in left]:
        raise DataError(f"no usable training image of {listed_rows(lost)} is left in {budget.root}")
    warnings = [*unread]
    if budget.root != budget.folder and (columns := unread_columns(budget.root)):
        warnings.append(f"{budget.root}: columns {', '.join(columns)} are not read")
    tested = {label for split, label in left if split == "test"}
    if tested and (untested := [name for name in classes if name not in tested]):
        warnings.append(f"no test image of {listed_rows(untested)}")
    groups = {
        split: {f.group for f in files if f.split == split} - {None} for split in SPLIT_FOLDERS
    }
    if shared := sorted(str(name) for name in groups["train"] & groups["test"]):
        warnings.append(
            f"{len(shared)} groups have training and test images: {listed_rows(shared)}"
        )
    there = {sample.image for sample, _ in usable}
    tests = KnownImages(budget.folder, [f for f in files if f.split == "test" and f.image in there])
    learnt = (f.image for f in files if f.split == "train" and f.image in there)
    if both := [name for name in learnt if tests.split_of(budget.folder / name) is not None]:
        warnings.append(
            f"{len(both)} training images are test images too, byte by byte: {listed_rows(both)}"
        )
    images, problem = look_for_unlabelled(budget)
    # Only a recipe that learns from them is refused.
    return (*warnings, *([f"{problem}: none can be learnt from"] if problem else images.notes()))
