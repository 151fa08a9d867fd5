"""Whether an image is one of the labelled ones, by its path or by its content."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from backbones.atomic import sha256_file
from benchmarks.errors import DataError
from benchmarks.labelled_csv import LabelledFile, Split


class KnownImages:
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
