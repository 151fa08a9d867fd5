"""The files that one stage reads: which they are, and whether they are still the same."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.errors import DataError

# Control characters would end lines of lists and digests; surrogates are bytes that are not UTF-8.
_UNUSABLE_NAME = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image of a split with what is annotated about it; paths below the root, with `/`.

    annotation: None where the image's folder is its label.
    """

    split: str
    image: str
    annotation: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.image,) if self.annotation is None else (self.image, self.annotation)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a sample holds. counts: by class, in the unit of its layout (images, boxes, pixels)."""

    counts: dict[str, int]
    degenerate: int = 0
    """Boxes without an area, which are dropped."""


@dataclass(frozen=True, kw_only=True)
class DatasetFiles:
    """All samples of a stage, and the lists that name them.

    The content of lists and annotations decides what is learnt and scored; of images the size is
    enough for a digest. meanings: of lists that say the same in many ways, such as with and without
    a blank line, what counts in a digest instead of their bytes.
    """

    root: Path
    samples: Collection[Sample]
    lists: tuple[str, ...] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def annotations(self) -> frozenset[str]:
        """The lists and every annotation."""
        named = (sample.annotation for sample in self.samples if sample.annotation is not None)
        return frozenset((*self.lists, *named))

    def without(self, images: Iterable[str]) -> DatasetFiles:
        """The same without these images and their annotations."""
        left = frozenset(images)
        return replace(self, samples=tuple(s for s in self.samples if s.image not in left))

    def names(self) -> Iterator[str]:
        """Every file once, in sorted order."""
        names = {name for sample in self.samples for name in sample.paths}
        return iter(sorted(names.union(self.lists)))

    def stats(self) -> Iterator[tuple[str, os.stat_result | None]]:
        """The same with its stat, None where it is not there."""
        root = str(self.root)
        for name in self.names():
            try:
                yield name, os.stat(f"{root}/{name}")
            except OSError:
                yield name, None

    def fingerprint(self) -> str:
        """Changes whenever a file is added, removed, or differs in size or modification time."""
        summary = hashlib.sha256(str(self.root).encode())
        for name, found in self.stats():
            facts = "missing" if found is None else f"{found.st_size}\t{found.st_mtime_ns}"
            summary.update(f"\n{name}\t{facts}".encode())
        return summary.hexdigest()


@dataclass(frozen=True, kw_only=True)
class StageData:
    """What a layout knows of a stage's data.

    unit: what `Finding.counts` counts; classes: those that it may hold. test: the split that is
    scored, the others are learnt. inspect: checks one sample without decoding its image, and raises
    DataError naming the file; can be sent to another process. conclude: what only shows over all
    samples, all of which it takes, as warnings or DataError. question: what the answers depend on
    beside the files.
    """

    files: DatasetFiles
    unit: str
    classes: tuple[str, ...]
    test: str
    inspect: Callable[[Sample], Finding]
    conclude: Callable[[Iterable[tuple[Sample, Finding]]], tuple[str, ...]]
    question: list[Any] = field(default_factory=list)


def require_folder(folder: Path, expected: str) -> None:
    """DataError unless `folder` is there; `expected` says what it should hold."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; it should hold {expected}")


def require_file(file: Path, expected: str) -> None:
    """DataError unless `file` is there; `expected` says what it should hold."""
    if not file.is_file():
        raise DataError(f"no file {file}; it should hold {expected}")


def require_plain_names(names: Iterable[str], where: Path) -> None:
    """DataError for a name that could not be written into a list, a digest or a message."""
    for name in names:
        if _UNUSABLE_NAME.search(name):
            raise DataError(
                f"{where} holds the name {name!r}, with control characters or not UTF-8; rename it"
            )


def open_data(path: Path, *, most_bytes: int) -> BinaryIO:
    """Open a regular file of at most `most_bytes` bytes, through links too.

    Raises DataError naming the file: not there, not readable, a folder, pipe or device (which would
    make a reader wait for ever), or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DataError(f"{path} is listed in the data and not there: {error.strerror}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
        os.close(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path} is no regular file")
        raise DataError(
            f"{path} has {found.st_size:,} bytes, and at most {most_bytes:,} make sense here"
        )
    return os.fdopen(descriptor, "rb")


def read_data(path: Path, *, most_bytes: int) -> bytes:
    """The content of a file; see `open_data`."""
    try:
        with open_data(path, most_bytes=most_bytes) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
