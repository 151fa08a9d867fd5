"""Files from one machine to another in pieces, each at its end put in place at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from backbones.atomic import atomic_directory

CHUNK_BYTES = 8 << 20
_SUFFIX = ".tmp-transfer"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """name: of the file, relative to the folder that both sides agree on."""

    name: str
    data: bytes
    first: bool
    last: bool


def files_below(path: Path) -> list[Path]:
    """A file itself, or all below a folder, the oldest first: what names others comes after them,
    and a card, which makes a folder an artifact, last."""
    if path.is_file():
        return [path]
    found = []
    for file in path.rglob("*") if path.is_dir() else ():
        # Of files that are being written there will be a whole one later.
        if not file.name.startswith(".") and ".tmp-" not in file.name and file.is_file():
            with suppress(FileNotFoundError):
                found.append((file.name == "card.json", file.stat().st_mtime_ns, file))
    return [file for *_, file in sorted(found)]


def pieces(file: Path, name: str) -> Iterator[Piece]:
    """A file in pieces, as it is now: who replaces it meanwhile changes nothing. None of one that
    is gone."""
    try:
        reader = file.open("rb")
    except FileNotFoundError:
        return
    with reader:
        size, done = os.fstat(reader.fileno()).st_size, 0
        while True:
            data = reader.read(min(CHUNK_BYTES, size - done))
            first, done = done == 0, done + len(data)
            last = done >= size or not data
            yield Piece(name=name, data=data, first=first, last=last)
            if last:
                return


def put(piece: Piece, root: Path) -> Path:
    """Writes a piece below `root`; the file is there with its last one. Raises ValueError for a
    name that leads out of there."""
    target = root / piece.name
    if not target.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{piece.name} does not lie below {root}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}{_SUFFIX}")
    with temporary.open("wb" if piece.first else "ab") as writer:
        writer.write(piece.data)
        if piece.last:
            writer.flush()
            os.fsync(writer.fileno())
    if piece.last:
        temporary.replace(target)
    return target


class Incoming:
    """What comes from one job: files below `root`, each put in place at once, but those of the
    folder `whole` (an artifact) only all together. Nobody else may write that folder meanwhile."""

    def __init__(self, root: Path, whole: Path | None) -> None:
        self.root = root
        self.whole = whole
        self._beside = None if whole is None else whole.with_name(f".{whole.name}.tmp-transfer")
        self._arrived: set[Path] = set()
        self.close()  # what a killed process has left

    def put(self, piece: Piece) -> None:
        """As the function `put`."""
        name = self._within(piece.name)
        if name is None or self._beside is None:
            put(piece, self.root)
            return
        put(replace(piece, name=str(name)), self._beside)
        if piece.last:
            self._arrived.add(name)

    def kept(self, names: Set[str]) -> None:
        """Says which files there are now where they come from."""
        there = {name for text in names if (name := self._within(text)) is not None}
        if self.whole is None or self._beside is None or not there or there - self._arrived:
            return
        with atomic_directory(self.whole) as folder:
            for path in list(self._beside.iterdir()):
                path.rename(folder / path.name)
        self.close()

    def close(self) -> None:
        """Removes what has not become whole."""
        self._arrived = set()
        if self._beside is not None:
            shutil.rmtree(self._beside, ignore_errors=True)

    def _within(self, name: str) -> Path | None:
        path = self.root / name
        if self.whole is None or not path.is_relative_to(self.whole):
            return None
        return path.relative_to(self.whole)
