"""Archives unpacked without trusting them: whole or not at all, inside their folder, within bounds.

Read with the standard library, by the archive's content: tar (plain, gzip, bzip2, xz) and zip.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from benchmarks.dataset_files import open_data, require_plain_names
from benchmarks.errors import DataError

MOST_FILES = 5_000_000
MOST_RATIO = 200
"""Unpacked to packed bytes. Photographs have 1, masks some tens, a bomb a thousand and more."""
RATIO_COUNTS_FROM = 64 * 2**20
"""Bytes that an archive may unfold to whatever its own size."""
_CHUNK = 2**20
_MOST_HEADER = 2**20

_DECOMPRESSORS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a zip's method of compression
    RuntimeError,  # a zip with a password
    OSError,
)


@dataclass(frozen=True, kw_only=True)
class Member:
    """size: as its header says; file: what is in it, None for a folder."""

    name: str
    size: int
    file: IO[bytes] | None


def members(archive: Path) -> Iterator[Member]:
    """Everything in `archive`, in its order; each one's content can be read until the next is asked
    for. All headers are read, no content. Raises DataError as `extract` does."""
    with open_data(archive, most_bytes=2**63) as packed:
        yield from _members(archive, packed)


def inner_members(archive: Path, member: Member) -> Iterator[Member]:
    """The same for an archive that is a member of `archive`."""
    assert member.file is not None, "a folder is no archive"
    yield from _members(archive / member.name, member.file)


def extract(
    archive: Path,
    folder: Path,
    *,
    most_bytes: int,
    place: Callable[[PurePosixPath], PurePosixPath] | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Unpack `archive` as `folder`, whole or not at all; returns how many files there are.

    folder: must not be there; what is written lies in `<folder>.partial` until it is whole, and
    what a killed call left there is removed first. most_bytes: that it may unfold to in all.
    place: where in `folder` a file goes, by its name in the archive; may raise DataError. advance:
    is told how many bytes more are written. Owners, modes and times in the archive are not taken
    over.

    Raises DataError naming archive and member: a name with `..`, absolute, or used twice; a link, a
    device or a sparse file; more bytes than allowed, than its own size makes likely, or than the
    disk has room for; a damaged archive. OSError: `folder` is there, or cannot be written.
    """
    with open_data(archive, most_bytes=2**63) as packed:
        return _extract(
            archive,
            packed,
            folder,
            packed_bytes=os.fstat(packed.fileno()).st_size,
            most_bytes=most_bytes,
            place=place,
            advance=advance,
        )


def extract_member(
    archive: Path,
    member: Member,
    folder: Path,
    *,
    most_bytes: int,
    advance: Callable[[int], None] | None = None,
) -> int:
    """The same for an archive that is a member of `archive`, without writing it first."""
    assert member.file is not None, "a folder is no archive"
    return _extract(
        archive / member.name,
        member.file,
        folder,
        packed_bytes=member.size,
        most_bytes=most_bytes,
        advance=advance,
    )


def _extract(
    archive: Path,
    packed: IO[bytes],
    folder: Path,
    *,
    packed_bytes: int,
    most_bytes: int,
    place: Callable[[PurePosixPath], PurePosixPath] | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    if folder.exists():
        raise FileExistsError(errno.EEXIST, "a folder to unpack to must not be there", str(folder))
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        likely = max(RATIO_COUNTS_FROM, MOST_RATIO * packed_bytes)
        limits = {
            f"{most_bytes:,} bytes are allowed": most_bytes,
            f"its own size makes {likely:,} likely": likely,
            f"{(free := shutil.disk_usage(partial).free):,} bytes are free": free,
        }
        budget = _Budget(limits, advance)
        files = _write_all(archive, _members(archive, packed), partial, budget, place)
        # One sync for all: an fsync for each of a million files would take hours.
        os.sync()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return files


class _Budget:
    """How many bytes may be written: the least of several limits, which are named."""

    def __init__(self, limits: dict[str, int], advance: Callable[[int], None] | None) -> None:
        self.reason, self.most = min(limits.items(), key=lambda item: item[1])
        self.advance = advance
        self.written = 0

    def require(self, archive: Path, member: Member, size: int) -> None:
        """DataError where `size` more bytes are too many."""
        if self.written + size > self.most:
            raise DataError(
                f"{archive} unfolds to more than it may at {member.name!r}: {self.reason}; "
                "nothing of it is kept"
            )

    def count(self, size: int) -> None:
        """`size` more bytes are written."""
        self.written += size
        if self.advance is not None:
            self.advance(size)


def _write_all(
    archive: Path,
    members: Iterator[Member],
    folder: Path,
    budget: _Budget,
    place: Callable[[PurePosixPath], PurePosixPath] | None,
) -> int:
    files = 0
    for member in members:
        name = _safe_name(archive, member.name)
        if place is not None:
            if member.file is None:
                continue
            name = place(name)
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.file is None:
                path.mkdir(exist_ok=True)
                continue
            target = path.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise DataError(f"{archive} holds {member.name!r} twice") from None
        files += 1
        if files > MOST_FILES:
            raise DataError(f"{archive} holds more than {MOST_FILES:,} files; it is not unpacked")
        budget.require(archive, member, member.size)  # what it says, before anything is written
        with target:
            while chunk := _read(archive, member):
                budget.require(archive, member, len(chunk))
                target.write(chunk)
                budget.count(len(chunk))
    if not files:
        raise DataError(f"{archive} holds no files")
    return files


def _read(archive: Path, member: Member) -> bytes:
    assert member.file is not None, "a folder has no content"
    try:
        return member.file.read(_CHUNK)
    except _DAMAGED as error:
        raise DataError(f"{archive} is damaged at {member.name!r}: {error}") from error


def _members(archive: Path, packed: IO[bytes]) -> Iterator[Member]:
    """Everything in it, in its order; DataError for what is neither file nor folder."""
    start = packed.read(8)
    packed.seek(0)
    try:
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from _zip_members(archive, packed)
        else:
            opener = next(
                (o for magic, o in _DECOMPRESSORS.items() if start.startswith(magic)), None
            )
            content = packed if opener is None else opener(packed, "rb")
            yield from _tar_members(archive, content)
    except _DAMAGED as error:
        raise DataError(f"{archive} is no archive that can be unpacked: {error}") from error


def _tar_members(archive: Path, content: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=_Bounded(content), mode="r:") as tar:
        while (info := tar.next()) is not None:
            # Of a million files it would keep them all.
            tar.members.clear()  # type: ignore[attr-defined]
            if info.isdir():
                yield Member(name=info.name, size=0, file=None)
            elif info.isreg() and not info.issparse():
                yield Member(name=info.name, size=info.size, file=tar.extractfile(info))
            else:
                raise DataError(
                    f"{archive} holds {info.name!r}, a link, device or sparse file; "
                    "only files and folders are unpacked"
                )
        # tarfile ends quietly at a damaged header, too.
        content.seek(tar.offset)
        if content.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends within its files")


def _zip_members(archive: Path, content: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(content) as packed:
        for info in packed.infolist():
            kind = info.external_attr >> 28  # of a Unix mode: 8 is a file, 4 a folder, 0 unknown
            if info.is_dir():
                yield Member(name=info.filename, size=0, file=None)
            elif kind in (0, 8):
                with packed.open(info) as file:
                    yield Member(name=info.filename, size=info.file_size, file=file)
            else:
                raise DataError(
                    f"{archive} holds {info.filename!r}, a link or device; "
                    "only files and folders are unpacked"
                )


class _Bounded(io.RawIOBase):
    """tarfile reads a header of any size into memory; this refuses to."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def seekable(self) -> bool:
        return True  # what is in it may be an archive again

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def _safe_name(archive: Path, name: str) -> PurePosixPath:
    """DataError unless `name` stays in its folder on every system."""
    require_plain_names([name], archive)
    path = PurePosixPath(name)
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive:
        raise DataError(f"{archive} holds {name!r}, which leads out of its folder")
    return path
