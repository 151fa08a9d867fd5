"""One's own labelled images, and those without a label: what `[finetune]` of a benchmark names.

Three ways to name the labelled ones: the ImageNet layout (`train/<class>/*` and, where there are
test images, `val/<class>/*`), a folder of class folders, or a CSV file (labelled_csv.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backbones.atomic import sha256_file
from benchmarks.dataset_files import (
    DatasetFiles,
    Finding,
    Sample,
    StageData,
    require_folder,
    require_plain_names,
)
from benchmarks.digest import dataset_digest
from benchmarks.errors import DataError
from benchmarks.file_index import file_index
from benchmarks.image_files import IMAGE_SUFFIXES, check_image
from benchmarks.labelled_csv import LabelledFile, Split, listed_rows, read_csv, unread_columns
from benchmarks.schema import FineTuneBudget

LAYOUTS = (
    "train/<class>/*.jpg with or without val/<class>/*.jpg, or <class>/*.jpg (also .jpeg, .png)"
)
_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """One split. classes: sorted, the same for both splits. samples: (path, label), a label being a
    position in `classes`. groups: of each sample; None where the data has none."""

    classes: tuple[str, ...]
    samples: Sequence[tuple[Path, int]]
    groups: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class UnlabelledImages:
    """paths: sorted, what may be learnt from. labelled, tests: how many more there are that are
    among the labelled training images, or among the test images, by path or by content, and are
    left out. unusable: how many cannot be read."""

    paths: tuple[Path, ...]
    labelled: int = 0
    tests: int = 0
    unusable: int = 0

    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know, a sentence each."""
        found = {
            "are test images": self.tests,
            "are labelled training images": self.labelled,
            "cannot be read": self.unusable,
        }
        return tuple(
            f"{count:,} of the unlabelled images {what}: left out"
            for what, count in found.items()
            if count
        )


def read_labelled(budget: FineTuneBudget, split: Split) -> LabelledImages | None:
    """The images of a split, sorted by class and path; None where there are no test images.

    What is left out of the budget is left out here, and of the training images those that do not
    count as labelled. Raises DataError as `stage_data` does.
    """
    files = _listed(budget)
    labels = {name: label for label, name in enumerate(_classes(files))}
    folder = budget.folder
    chosen = [f for f in _divided(budget, files)[0] if f.split == split]
    if split == "test" and not chosen:
        return None
    return LabelledImages(
        classes=tuple(labels),
        samples=tuple((folder / f.image, labels[f.label]) for f in chosen),
        groups=_groups(chosen),
    )


def read_unlabelled(budget: FineTuneBudget) -> tuple[Path, ...]:
    """The images without a label that may be learnt from; see `find_unlabelled`."""
    return find_unlabelled(budget).paths


def find_unlabelled(budget: FineTuneBudget) -> UnlabelledImages:
    """The training images that do not count as labelled, and the images below `unlabelled`; without
    those that are labelled or test images already.

    An image is one of them by its path, through links too, or by its content: sha256, of those
    files alone whose size is that of a labelled one. Raises DataError: no such folder, or nothing
    is left in it.
    """
    images, problem = _look_for_unlabelled(budget)
    if problem:
        raise DataError(
            f"{problem}; let `unlabelled` of [finetune] name a folder of images without labels, or "
            "leave it out"
        )
    return images


def _look_for_unlabelled(budget: FineTuneBudget) -> tuple[UnlabelledImages, str]:
    """As `find_unlabelled`, and what is wrong where nothing is left in the folder, else nothing."""
    if budget.unlabelled is None and budget.labelled_per_class is None:
        return UnlabelledImages(paths=()), ""
    require_unlabelled(budget)
    files = _listed(budget)
    counted, others = _divided(budget, files)
    hidden: list[Path] = []
    count: Counter[str] = Counter()
    of_labelled = _Known(budget.folder, counted)
    for path in sorted(budget.folder / file.image for file in others):
        if (split := of_labelled.split_of(path)) is None:
            hidden.append(path)
        else:
            count[split] += 1
    folder = budget.unlabelled
    if folder is None:
        images = UnlabelledImages(paths=tuple(hidden), labelled=count["train"], tests=count["test"])
        return images, ""
    # Of all of them: what is hidden among the training images is not to come a second time.
    known = _Known(budget.folder, files)
    kept: list[Path] = []
    for path in (folder / name for name in _unlabelled_names(folder)):
        split = known.split_of(path)
        if split is None and not _is_usable(path):
            count["unusable"] += 1
        elif split is None:
            kept.append(path)
        else:
            count[split] += 1
    images = UnlabelledImages(
        paths=(*hidden, *kept),
        labelled=count["train"],
        tests=count["test"],
        unusable=count["unusable"],
    )
    if kept:
        return images, ""
    why = ", ".join(images.notes()) or f"no file there ends in {', '.join(IMAGE_SUFFIXES)}"
    return images, f"{folder} holds no unlabelled image ({why})"


def unlabelled_digest(budget: FineTuneBudget) -> str:
    """As `dataset_digest`, of the images below `unlabelled` that may be learnt from."""
    folder = budget.unlabelled
    if folder is None:
        raise ValueError("this benchmark names no unlabelled images: add unlabelled to [finetune]")
    paths = read_unlabelled(budget.model_copy(update={"labelled_per_class": None}))
    images = (path.relative_to(folder).as_posix() for path in paths)
    samples = tuple(Sample(split="unlabelled", image=image) for image in images)
    return dataset_digest(DatasetFiles(root=folder, samples=samples))


def unlabelled_state(budget: FineTuneBudget) -> str:
    """Changes whenever a file below `unlabelled` does; empty where there is none."""
    require_unlabelled(budget)
    return " ".join(_unlabelled_facts(budget))


def require_unlabelled(budget: FineTuneBudget) -> None:
    """DataError where `unlabelled` names a folder that is not there."""
    if budget.unlabelled is not None and not budget.unlabelled.is_dir():
        raise DataError(
            f"no folder {budget.unlabelled}; `unlabelled` of [finetune] should name a folder of "
            "images without labels, or be left out"
        )


def stage_data(budget: FineTuneBudget) -> StageData:
    """The labelled images of both splits, to be checked.

    Raises DataError: no such folder or file, a class of the test images without a training image,
    fewer than two classes, and what `read_csv` and `file_index` raise.
    """
    require_unlabelled(budget)
    files = _listed(budget)
    classes = _classes(files)
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
            *_unlabelled_facts(budget),
            *map(str, budget.labelled_facts().items()),
        ],
    )


def _meaning(files: Iterable[LabelledFile]) -> str:
    """Of the rows in their sorted order what is read: not its line, nor how the file is written."""
    rows = [(file.image, file.label, file.split, file.group) for file in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _listed(budget: FineTuneBudget) -> tuple[LabelledFile, ...]:
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


def _divided(
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
    there = {split: (root / name).is_dir() for split, name in _FOLDERS.items()}
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
    for split, name in _FOLDERS.items():
        if there[split]:
            yield from _of_folder(root / name, f"{name}/", split)


def _of_folder(folder: Path, before: str, split: Split) -> Iterator[LabelledFile]:
    test = split == "test"
    layouts = f"{LAYOUTS}; remove {folder.name}/ if there are no test images" if test else LAYOUTS
    index = file_index(folder, layouts, least_classes=1 if test else 2)
    for label, name in enumerate(index.classes):
        for file in index.names[slice(*index.span(label))]:
            yield LabelledFile(image=f"{before}{name}/{file}", label=name, split=split)


def _below_class_folders(root: Path) -> tuple[str, ...]:
    """A warning where images lie deeper than in the folder of their class."""
    roots = [root / name for name in _FOLDERS.values() if (root / name).is_dir()] or [root]
    counts: Counter[str] = Counter()
    for inside in (
        place for each in roots for at in _folders_in(each) for place in _folders_in(at)
    ):
        for image in _images_below(inside):
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


def _classes(files: Iterable[LabelledFile]) -> tuple[str, ...]:
    return tuple(sorted({file.label for file in files}))


def _groups(files: Iterable[LabelledFile]) -> tuple[str, ...] | None:
    groups = tuple(file.group for file in files if file.group is not None)
    return groups or None  # a column has a value in every row


def _inspect(root: Path, known: Mapping[str, tuple[str, int]], sample: Sample) -> Finding:
    label, line = known[sample.image]
    folder = root if not line else root.parent
    try:
        check_image(folder / sample.image)
    except DataError as error:
        raise DataError(f"{root}, line {line}: {error}" if line else str(error)) from error
    return Finding(counts={label: 1})


def _unlabelled_facts(budget: FineTuneBudget) -> list[str]:
    """What the warnings about unlabelled images depend on: their folder and what lies in it now."""
    if budget.unlabelled is None:
        return []
    images = (Sample(split="", image=image) for image in _unlabelled_names(budget.unlabelled))
    files = DatasetFiles(root=budget.unlabelled, samples=tuple(images))
    return [str(budget.unlabelled), files.fingerprint()]


def _unlabelled_names(folder: Path) -> list[str]:
    """Paths below the folder, sorted."""
    names = sorted(path.relative_to(folder).as_posix() for path in _images_below(folder))
    require_plain_names(names, folder)
    return names


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
    groups = {split: {f.group for f in files if f.split == split} - {None} for split in _FOLDERS}
    if shared := sorted(str(name) for name in groups["train"] & groups["test"]):
        warnings.append(
            f"{len(shared)} groups have training and test images: {listed_rows(shared)}"
        )
    there = {sample.image for sample, _ in usable}
    tests = _Known(budget.folder, [f for f in files if f.split == "test" and f.image in there])
    learnt = (f.image for f in files if f.split == "train" and f.image in there)
    if both := [name for name in learnt if tests.split_of(budget.folder / name) is not None]:
        warnings.append(
            f"{len(both)} training images are test images too, byte by byte: {listed_rows(both)}"
        )
    images, problem = _look_for_unlabelled(budget)
    # Only a recipe that learns from them is refused.
    return (*warnings, *([f"{problem}: none can be learnt from"] if problem else images.notes()))


class _Known:
    """Tells whether an image is one of the labelled ones; most are told by their size alone."""

    def __init__(self, folder: Path, files: Collection[LabelledFile]) -> None:
        self._paths: dict[str, Split] = {}
        self._sizes: dict[int, list[tuple[str, Split]]] = {}
        self._contents: dict[int, dict[str, Split]] = {}
        # An image that is in both splits by its content counts as a test image.
        for file in sorted(files, key=lambda file: file.split, reverse=True):
            path = os.path.realpath(folder / file.image)
            self._paths[path] = file.split
            if (size := _size(path)) is not None:
                self._sizes.setdefault(size, []).append((path, file.split))

    def split_of(self, path: Path) -> Split | None:
        real = os.path.realpath(path)
        if real in self._paths:
            return self._paths[real]
        size = _size(real)
        if size is None or size not in self._sizes:
            return None
        if size not in self._contents:
            self._contents[size] = {_sha256(p): split for p, split in self._sizes[size]}
        return self._contents[size].get(_sha256(real))


def _sha256(path: str) -> str:
    try:
        return sha256_file(Path(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _is_usable(path: Path) -> bool:
    try:
        check_image(path)
    except DataError:
        return False
    return True


def _images_below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield Path(where, name)
