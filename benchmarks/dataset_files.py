"""The files that one stage reads: which they are, and whether they are still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import DataError


@dataclass(frozen=True, kw_only=True)
class DatasetFiles:
    """Paths below `root`, with `/` between their parts.

    `annotations` are the files whose content decides what is learnt and scored (lists, boxes,
    masks); of `images` the size is enough.
    """

    root: Path
    images: tuple[str, ...]
    annotations: tuple[str, ...]

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every file in sorted order with its stat; DataError names the first one missing."""
        for name in sorted({*self.images, *self.annotations}):
            try:
                yield name, os.stat(self.root / name)
            except OSError as error:
                raise DataError(
                    f"{self.root / name} is listed in the data and not there: {error.strerror}"
                ) from error

    def fingerprint(self) -> str:
        """Changes whenever a file is added, removed, or differs in size or modification time."""
        summary = hashlib.sha256(str(self.root).encode())
        for name, stat in self.stats():
            summary.update(f"\n{name}\t{stat.st_size}\t{stat.st_mtime_ns}".encode())
        return summary.hexdigest()


def require_folder(folder: Path, expected: str) -> None:
    """DataError unless `folder` is there; `expected` says what it should hold."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; it should hold {expected}")


def require_file(file: Path, expected: str) -> None:
    """DataError unless `file` is there; `expected` says what it should hold."""
    if not file.is_file():
        raise DataError(f"no file {file}; it should hold {expected}")
