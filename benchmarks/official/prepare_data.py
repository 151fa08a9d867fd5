"""A published data set made ready under TRICKLE_DATA: unpacked, or found unpacked, and counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import DataError
from benchmarks.official.checked_archives import all_there, checked_archives
from benchmarks.official.completeness import require_complete
from benchmarks.official.found_trees import (
    find_tree,
    has_flat_validation,
    labels_of_flat,
    link_classes,
)
from benchmarks.official.releases import RELEASES, Release
from benchmarks.official.unpacking import bytes_needed, unpack
from engine.locks import Lock
from engine.processes import tell

_GIB, _MIB = 2**30, 2**20
_NOTE = "archives.json"
"""In what is not whole yet: which archives it is from."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """folder: where the data set lies; how: what was done for that, in words; missing: the data
    sets of the benchmark `paper` that are not beside it yet."""

    release: Release
    folder: Path
    how: str
    missing: tuple[str, ...]


def prepare_data(release: Release, source: Path, target: Path) -> Prepared:
    """Makes `target`/`release.folder` hold the data set, from what lies in `source`.

    A tree that is unpacked already is counted and linked to, never copied or changed. Archives are
    checked and unpacked beside their place, which they take when all is there; a call that ends
    early is gone on with by the next.

    Raises DataError: nothing to be found in `source`, an archive that is missing, damaged or not
    the published one, too little room, a data set that is not whole, another process at work here,
    a `target` that cannot be written. OSError: the disk.
    """
    if source.is_file():
        raise DataError(f"{source} is a file; give its folder by --from: {source.parent}")
    if not source.is_dir():
        raise DataError(f"no folder {source}; --from names the one with the archives")
    final = target / release.folder
    with _alone(target, release):
        if final.is_symlink() and not final.exists():
            raise DataError(f"{final} is a link that leads nowhere; remove it")
        if final.exists():
            how = _check_in_place(release, final, source)
        elif (tree := find_tree(release, source)) is not None:
            how = _link(release, tree, source, final)
        else:
            how = _unpack(release, source, final)
    others = (other for other in RELEASES.values() if not (target / other.folder).exists())
    return Prepared(
        release=release,
        folder=final,
        how=how,
        missing=tuple(other.dataset for other in others),
    )


def _check_in_place(release: Release, final: Path, source: Path) -> str:
    if has_flat_validation(release, final):
        raise DataError(
            f"{final / 'val'} holds all validation images in one folder, and your files are not "
            f"moved: rename {final} to another name, say {final}-flat, and run the same command "
            f"with --from {final}-flat; classes are made of links, nothing is copied"
        )
    remedy = f"Restore it, or move {final} away and run the same command with the archives"
    with _saying(remedy):
        require_complete(release, final, source)
    return "was there already"


def _link(release: Release, tree: Path, source: Path, final: Path) -> str:
    work, inside = _work(final), tree.resolve()
    if final.parent.resolve().is_relative_to(inside):
        raise DataError(
            f"{final.parent} is the data set itself; give the folder above it by --to, "
            f"{inside.parent}"
        )
    if not has_flat_validation(release, tree):
        with _saying(_remedy_for_tree(release, source)):
            require_complete(release, tree, source)
        final.symlink_to(inside, target_is_directory=True)
        return f"lies in {tree}, which a link leads to"
    labels = labels_of_flat(release, tree, source)
    shutil.rmtree(work / "links", ignore_errors=True)
    link_classes(tree, labels, work / "links")
    with _saying(_remedy_for_tree(release, source)):
        require_complete(release, work / "links", source)
    (work / "links").rename(final)
    shutil.rmtree(work, ignore_errors=True)
    return f"lies in {tree}, whose images links lead to, by class"


def _remedy_for_tree(release: Release, source: Path) -> str:
    if all_there(release, source):
        return "Restore it; or take it out of --from, and the archives beside it are unpacked"
    return "Restore it, or name a folder with the archives by --from"


def _unpack(release: Release, source: Path, final: Path) -> str:
    archives = checked_archives(release, source)
    work = _work(final)
    whose = json.dumps({archive.path.name: archive.identity for archive in archives})
    _start_over_unless(whose, work)
    needed, free = bytes_needed(release, archives, work), shutil.disk_usage(final.parent).free
    if needed > free:
        raise DataError(
            f"{final.parent} has {_amount(free)} free, and {_amount(needed)} are "
            f"needed to unpack {release.title}: make room, or give another --to"
        )
    work.mkdir(exist_ok=True)
    (work / _NOTE).write_text(whose, encoding="utf-8")
    tree = unpack(release, archives, work)
    try:
        require_complete(release, tree, source)
    except DataError as error:
        shutil.rmtree(work)  # else the next call would count the same tree again
        raise DataError(
            f"{error}\nThis is what the archives in {source} hold; what was unpacked is deleted. "
            f"Get others from {release.archives[0].source}, and run the same command"
        ) from error
    tree.rename(final)
    shutil.rmtree(work, ignore_errors=True)
    return "was unpacked from its archives"


def _start_over_unless(whose: str, work: Path) -> None:
    """Deletes what an earlier call unpacked, unless from these archives."""
    if not work.exists():
        return
    with suppress(OSError, UnicodeDecodeError):
        if (work / _NOTE).read_text(encoding="utf-8") == whose:
            return
    tell(f"{work} was not unpacked from these archives: it is deleted, and they are unpacked")
    shutil.rmtree(work)


def _amount(size: int) -> str:
    return f"{size / _GIB:,.1f} GiB" if size >= _GIB else f"{size / _MIB:,.1f} MiB"


def _work(final: Path) -> Path:
    """What is not whole yet lies here."""
    return final.with_name(f"{final.name}.partial")


@contextmanager
def _saying(remedy: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}\n{remedy}") from error


@contextmanager
def _alone(target: Path, release: Release) -> Iterator[None]:
    lock = Lock(target / f"{release.folder}.lock")
    try:
        taken = lock.acquire()
    except OSError as error:
        there = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
        why = "" if there == target else f": in {there}, the last of its parents that is there"
        raise DataError(
            f"{target} cannot be written{why} ({error.strerror}); give a folder by --to that can"
        ) from error
    try:
        if not taken:
            raise DataError(
                f"{lock.holder} is preparing {release.title} in {target}; wait until it is done"
            )
        yield
    finally:
        lock.release()
