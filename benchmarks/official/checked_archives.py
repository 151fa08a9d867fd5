"""The archives of a release, found in a folder and known to be whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.archives import members
from benchmarks.cache import read_cached, write_cached
from benchmarks.dataset_files import open_data
from benchmarks.errors import DataError
from benchmarks.official.megabytes import Megabytes
from benchmarks.official.releases import Archive, Release
from engine.processes import tell

_CHUNK = 2**20
_KIND = "archives"


@dataclass(frozen=True, kw_only=True)
class CheckedArchive:
    """files, unpacked_bytes: what its headers say it holds. identity: another for another file: its
    MD5, or size and modification time where none is published."""

    path: Path
    files: int
    unpacked_bytes: int
    identity: str


def all_there(release: Release, source: Path) -> bool:
    """Whether every archive of the release lies in `source`."""
    return all((source / archive.name).is_file() for archive in release.archives)


def checked_archives(release: Release, source: Path) -> tuple[CheckedArchive, ...]:
    """The release's archives in `source`, in its order.

    All headers are read, then every byte for the checksum; what was found is remembered until the
    file's size or modification time changes. Raises DataError: an archive is missing (which, and
    which are there), ends too early, or is not the published one.
    """
    missing = [archive for archive in release.archives if not (source / archive.name).is_file()]
    if missing:
        there = [archive.name for archive in release.archives if archive not in missing]
        lines = [f"  {archive.name}, from {archive.source}" for archive in missing]
        raise DataError(
            f"{source} holds neither {release.title} unpacked nor all of its archives. Missing:\n"
            + "\n".join(lines)
            + (f"\nThere: {', '.join(there)}" if there else "\nNone of them is there")
        )
    checked, wrong = [], []
    for archive in release.archives:
        try:
            checked.append(_checked(archive, source / archive.name))
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("\n".join(wrong))
    return tuple(checked)


def _checked(archive: Archive, path: Path) -> CheckedArchive:
    with open_data(path, most_bytes=2**63):
        found = path.stat()
    key = json.dumps([str(path.resolve()), found.st_size, found.st_mtime_ns])
    known = read_cached(_KIND, key)
    if known is None:
        known = _surveyed(path)
    if archive.md5 is None:
        tell(f"{archive.name}: no published checksum is known; its contents are counted instead")
    else:
        if known.get("md5") is None:
            known["md5"] = _md5(path, found.st_size)
        if known["md5"] != archive.md5:
            raise DataError(
                f"{path} is not the published archive: its MD5 should be {archive.md5}, and is "
                f"{known['md5']}; download it again from {archive.source}"
            )
    write_cached(_KIND, key, known)
    return CheckedArchive(
        path=path,
        files=known["files"],
        unpacked_bytes=known["bytes"],
        identity=known["md5"] or f"{found.st_size} bytes of {found.st_mtime_ns}",
    )


def _surveyed(path: Path) -> dict[str, Any]:
    files = size = 0
    try:
        for member in members(path):
            files += member.file is not None
            size += member.size
    except DataError as error:
        raise DataError(f"{error}; is it truncated? Download it again") from error
    return {"files": files, "bytes": size, "md5": None}


def _md5(path: Path, size: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with (
        open_data(path, most_bytes=2**63) as file,
        Megabytes(f"checking {path.name}", size) as progress,
    ):
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()
