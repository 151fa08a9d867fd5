"""The images of a split in class folders: listed once, then memory-mapped from the user's cache.

1.28 million names take some 40 MB that all processes share, and are there in a tenth of a second.
A file is the index of a place as its folders were at one time, and is never replaced: a job that
runs keeps the names that it began with, and machines that share a cache do not meet in one file.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from benchmarks.array_file import ArrayFile, open_arrays, read_arrays, write_arrays
from benchmarks.cache import DamagedEntry, cache_entry, cache_folder
from benchmarks.dataset_files import require_folder, require_plain_names
from benchmarks.errors import DataError
from benchmarks.image_files import IMAGE_SUFFIXES
from benchmarks.name_table import NameTable

LAYOUT = "train/<class>/*.JPEG and val/<class>/*.JPEG (also .jpg, .jpeg, .png)"
FORMAT = 2
"""Counts up when the listing or the file changes, so that an index of the old one is made anew."""

YOUNG_NS = 2_000_000_000
"""A folder that changed less than this before it was listed may change again without another time:
clocks of file systems tick every few milliseconds, of some every two seconds. It is not kept."""

UNUSED_DAYS = 30
"""An index that nobody has opened for so long is deleted when another one is written."""

_KIND = "indexes"
_LINE = "\n"


@dataclass(frozen=True, eq=False)
class FileIndex:
    """The images in the folders of a split, sorted by class and by name.

    classes: the names of the folders; names: of the files; starts: (classes + 1,) int64, the
    position of each class's first file, and how many there are. file: where all this is mapped
    from, None where the cache cannot be written.
    """

    classes: tuple[str, ...]
    names: NameTable
    starts: np.ndarray
    file: ArrayFile | None = None

    def __len__(self) -> int:
        return len(self.names)

    def label(self, position: int) -> int:
        """The class, as a position in `classes`."""
        return int(np.searchsorted(self.starts, position, side="right")) - 1

    def span(self, label: int) -> tuple[int, int]:
        """The positions of a class's first file and of the one after its last."""
        return int(self.starts[label]), int(self.starts[label + 1])

    def positions(self, paths: Collection[str]) -> np.ndarray:
        """Of `<class>/<file>`, sorted; what is not there is left out."""
        labels = {name: label for label, name in enumerate(self.classes)}
        found = []
        for path in paths:
            name, _, file = path.partition("/")
            if name in labels:
                found.append(self.names.find(file, *self.span(labels[name])))
        return np.array(sorted(at for at in found if at is not None), np.int64)

    def __reduce__(self) -> Any:
        # Another process maps the same file instead of getting a copy.
        if self.file is None:
            return FileIndex, (self.classes, self.names, self.starts)
        return _reopened, (self.file.path, self.file.sha256)


def file_index(folder: Path, layout: str = LAYOUT, *, least_classes: int = 2) -> FileIndex:
    """The index of `folder`, a split: one folder per class. layout: what is expected, in words.

    The one in the cache is taken while the folders' names, and each one's time of the last change
    (of its entries, and of its own state), are those of the listing. So a file that comes, goes or
    is renamed is noticed; one that is written anew under its name is not, which changes no name:
    `sizes_and_times` and the manifest see to that. A damaged index is made anew.

    Raises DataError: no such folder, fewer than `least_classes`, a class without images, or a name
    that cannot be used.
    """
    classes = _classes(folder, layout, least_classes)
    stamps = _stamps(folder, classes)
    facts = {"format": FORMAT, "classes": list(classes), "stamps": stamps}
    key = json.dumps(["index", os.path.realpath(folder), facts])
    if (kept := _kept(key, facts)) is not None:
        return kept
    started = time.time_ns()
    listed = _listed(folder, classes, layout)
    if _stamps(folder, classes) == stamps and _last(stamps) < started - YOUNG_NS:
        arrays = {"text": listed.names.text, "ends": listed.names.ends, "starts": listed.starts}
        if write_arrays(_KIND, key, facts, arrays, replace=False):
            _forget_unused()
            # Mapped like everywhere else, and the memory of the listing is free again.
            return _kept(key, facts) or listed
    return listed


class ImageSamples(Sequence[tuple[Path, int]]):
    """(path, label) of every image, made when it is asked for; a slice is a list.

    left_out: positions in the index that do not count. Cheap to copy to other processes.
    """

    def __init__(self, folder: Path, files: FileIndex, left_out: np.ndarray) -> None:
        self.folder, self.files, self.left_out = folder, files, left_out
        # How many are kept before each that is left out: where a position skips how many.
        self._before = left_out - np.arange(len(left_out))

    def __len__(self) -> int:
        return len(self.files) - len(self.left_out)

    @overload
    def __getitem__(self, index: int) -> tuple[Path, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Path, int]]: ...
    def __getitem__(self, index: Any) -> tuple[Path, int] | list[tuple[Path, int]]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]  # negative ones count from the end; IndexError beyond
        at += int(np.searchsorted(self._before, at, side="right"))
        label = self.files.label(at)
        return self.folder / self.files.classes[label] / self.files.names[at], label

    def __iter__(self) -> Iterator[tuple[Path, int]]:
        left_out = frozenset(self.left_out.tolist())
        for label, name in enumerate(self.files.classes):
            start, stop = self.files.span(label)
            folder = self.folder / name
            for at, file in enumerate(self.files.names[start:stop], start):
                if at not in left_out:
                    yield folder / file, label


def sizes_and_times(folder: Path, index: FileIndex) -> str:
    """sha256 over name, size and time of the last change of every file, read now: some 3 µs each.

    In this thread: those that wait for the interpreter's lock in turn take longer together.
    """
    summary = hashlib.sha256()
    for label, name in enumerate(index.classes):
        files = index.names[slice(*index.span(label))]
        facts = np.array(_sizes_and_times(folder / name, files), np.int64)
        summary.update(f"{name}\n{len(files)}\n{_LINE.join(files)}\n".encode())
        summary.update(facts.tobytes())
    return summary.hexdigest()


def _sizes_and_times(folder: Path, files: list[str]) -> list[int]:
    """-1 for what is not there."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except OSError:
        return [-1, -1] * len(files)
    facts: list[int] = []
    try:
        for file in files:
            try:
                found = os.stat(file, dir_fd=place)
                facts += (found.st_size, found.st_mtime_ns)
            except OSError:
                facts += (-1, -1)
    finally:
        os.close(place)
    return facts


def _classes(folder: Path, layout: str, least: int) -> tuple[str, ...]:
    require_folder(folder, f"one folder of images per class, as in {layout}")
    with os.scandir(folder) as entries:
        classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    require_plain_names(classes, folder)
    if len(classes) < least:
        folders = f"{len(classes)} class folder{'s' * (len(classes) != 1)}"
        needed = f"at least {least} {'is' if least == 1 else 'are'} needed"
        raise DataError(f"{folder} has {folders}, {needed}; expected {layout}")
    return tuple(classes)


def _stamps(folder: Path, classes: tuple[str, ...]) -> list[list[int]]:
    """Of each class's folder: the times of the last change of its entries and of its state."""
    found = (os.stat(folder / name) for name in classes)
    return [[stat.st_mtime_ns, stat.st_ctime_ns] for stat in found]


def _last(stamps: list[list[int]]) -> int:
    return max(max(stamp) for stamp in stamps)


def _kept(key: str, facts: dict[str, Any]) -> FileIndex | None:
    """None where there is none; a file that is damaged, or of other facts, is removed."""
    try:
        found = read_arrays(_KIND, key)
        if found is None:
            return None
        if found.facts == facts:
            return _of_file(found)
    except DamagedEntry:
        pass
    with suppress(OSError):
        cache_entry(_KIND, key, suffix=".arrays").unlink()
    return None


def _forget_unused() -> None:
    before = time.time() - UNUSED_DAYS * 86_400
    for path in (cache_folder() / _KIND).glob("*.arrays"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def _listed(folder: Path, classes: tuple[str, ...], layout: str) -> FileIndex:
    text, starts = bytearray(), [0]
    for name in classes:
        files = sorted(
            file
            for file in os.listdir(folder / name)
            if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith(".")
        )
        if not files:
            raise DataError(f"{folder / name} holds no images; expected {layout}")
        require_plain_names(files, folder / name)
        text += "".join(f"{file}\n" for file in files).encode()
        starts.append(starts[-1] + len(files))
    return FileIndex(classes, NameTable.of_lines(text), np.array(starts, np.int64))


def _of_file(file: ArrayFile) -> FileIndex:
    with suppress(OSError):  # a cache that cannot be written
        os.utime(file.path)  # in use: see UNUSED_DAYS
    names = NameTable(file.arrays["text"], file.arrays["ends"])
    return FileIndex(tuple(file.facts["classes"]), names, file.arrays["starts"], file)


@lru_cache(maxsize=4)
def _reopened(path: Path, sha256: str) -> FileIndex:
    """The index that another process has mapped. DataError where it is not there any more, or
    another one is."""
    try:
        file = open_arrays(path)
    except (OSError, DamagedEntry) as error:
        raise DataError(f"the index {path} is gone or damaged: {error}; start again") from error
    if file.sha256 != sha256:
        raise DataError(f"the index {path} is not the one that the run began with; start again")
    return _of_file(file)
