"""The archives of a release, unpacked into one tree; what is unpacked already is not done again."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from benchmarks.archives import Member, extract, extract_member, members
from benchmarks.errors import DataError
from benchmarks.official.checked_archives import CheckedArchive
from benchmarks.official.megabytes import Megabytes
from benchmarks.official.releases import Release
from benchmarks.official.validation_labels import DEVKIT, read_devkit

_CLASS_ARCHIVE = re.compile(r"(n\d{8})\.tar")
_BLOCK = 4096
"""What a file's last block may take beyond its bytes."""


def bytes_needed(release: Release, archives: Sequence[CheckedArchive], work: Path) -> int:
    """How much room the rest of `unpack` takes on the disk."""
    if release.dataset == "imagenet":
        train, val, devkit = archives
        classes = work / "tree/train"
        left = sum(
            member.size
            for member in members(train.path)
            if not (classes / member.name.removesuffix(".tar")).exists()
        )
        left += sum(
            archive.unpacked_bytes + archive.files * _BLOCK
            for archive, folder in ((val, work / "tree/val"), (devkit, work / "devkit"))
            if not folder.exists()
        )
        # How many files there are in the classes only their own headers would say.
        return left + (_BLOCK * release.counts["train"] if left else 0)
    if (work / "tree").exists():
        return 0
    return sum(
        archive.unpacked_bytes + archive.files * _BLOCK
        for archive in archives
        if not (work / archive.path.name).exists()
    )


def unpack(release: Release, archives: Sequence[CheckedArchive], work: Path) -> Path:
    """Unpacks into `work`, which keeps what is whole when this ends early, and returns the folder
    there that holds the data set.

    Raises DataError for an archive or a member that cannot be unpacked, see `extract`; OSError
    where `work` cannot be written.
    """
    if release.dataset == "imagenet":
        return _unpack_imagenet(release, archives, work)
    if not (work / "tree").exists():
        for archive in archives:
            _unpack_once(archive, work / archive.path.name)
    for archive in archives:
        _merge(work / archive.path.name, work / "tree")
    return work / "tree" / release.folder


def _unpack_once(archive: CheckedArchive, folder: Path) -> None:
    if not folder.exists():
        with Megabytes(f"unpacking {archive.path.name}", archive.unpacked_bytes) as progress:
            extract(
                archive.path,
                folder,
                most_bytes=archive.unpacked_bytes,
                advance=progress.advance,
            )


def _merge(folder: Path, tree: Path) -> None:
    """Moves everything from `folder` into `tree`; nothing happens where it is moved already."""
    for parent, _, names in os.walk(folder):
        target = tree / Path(parent).relative_to(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            file, place = Path(parent, name), target / name
            if place.exists() and not filecmp.cmp(file, place, shallow=False):
                raise DataError(
                    f"{folder.name} holds another {place.relative_to(tree)} than an archive before"
                )
            file.rename(place)
    shutil.rmtree(folder, ignore_errors=True)


def _unpack_imagenet(release: Release, archives: Sequence[CheckedArchive], work: Path) -> Path:
    train, val, devkit = archives
    _unpack_once(devkit, work / "devkit")
    labels = read_devkit(work / "devkit" / DEVKIT, release)

    def place(name: PurePosixPath) -> PurePosixPath:
        if name.name not in labels:
            raise DataError(f"{val.path} holds {str(name)!r}, an image that no class is known of")
        return PurePosixPath(labels[name.name], name.name)

    if not (work / "tree/val").exists():
        with Megabytes(f"unpacking {val.path.name}", val.unpacked_bytes) as progress:
            extract(
                val.path,
                work / "tree/val",
                most_bytes=val.unpacked_bytes,
                place=place,
                advance=progress.advance,
            )
    wanted = set(labels.values())
    with Megabytes(f"unpacking {train.path.name}", train.unpacked_bytes) as progress:
        for member in members(train.path):
            folder = work / "tree/train" / _wnid(train.path, member, wanted)
            if not folder.exists():
                extract_member(train.path, member, folder, most_bytes=member.size)
            progress.advance(member.size)
    return work / "tree"


def _wnid(archive: Path, member: Member, wanted: set[str]) -> str:
    """The class whose images the member holds."""
    found = _CLASS_ARCHIVE.fullmatch(member.name)
    if member.file is None or found is None or found[1] not in wanted:
        raise DataError(
            f"{archive} holds {member.name!r}; expected were the archives of the classes, such as "
            "n01440764.tar"
        )
    return found[1]
