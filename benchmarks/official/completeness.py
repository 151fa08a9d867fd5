"""Whether a data set is whole: as many images as were published, each with its annotation."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.archives import inner_members, members
from benchmarks.dataset_files import read_data, require_folder
from benchmarks.errors import DataError
from benchmarks.image_files import IMAGE_SUFFIXES
from benchmarks.official.releases import Release
from benchmarks.official.validation_labels import validation_name
from benchmarks.voc_layout import read_image_set

SHOWN = 10
MANY = 40
"""Above so many missing files this may be another archive or folder, and their names say little."""
_SHOWN_OF_MANY = 3
_MOST_LIST_BYTES = 256 * 2**20
_ADE20K_PREFIX = {"training": "ADE_train", "validation": "ADE_val"}


def require_complete(release: Release, root: Path, source: Path) -> None:
    """DataError naming what is missing from the data set in `root`, or too much in it.

    source: a folder in which the release's archives may lie, which know the names of ImageNet's
    training images. Their names are compared, they are not read: `trickle validate` reads them.
    """
    count = _COUNTS[release.dataset](release, root, source)
    if not count.problems:
        return
    text = "\n".join([f"{release.title} in {root} is not as published:", *count.problems])
    if count.missing > MANY:
        most = "almost all: " if count.missing > 0.9 * count.published else ""
        lost = f"{most}{count.missing:,} of {count.published:,} files are missing"
        text = f"{lost}. Is this the right archive, or folder, for {release.title}?\n{text}"
    raise DataError(text)


@dataclass(kw_only=True)
class _Count:
    """problems: lines for a person. missing: files, of the published ones that were looked for."""

    problems: list[str] = field(default_factory=list)
    missing: int = 0
    published: int = 0

    def compare(self, published: Collection[str], found: Collection[str]) -> None:
        """By name."""
        self.add(len(set(published) - set(found)), len(published))
        self.problems += _differences(published, found)

    def add(self, missing: int, published: int) -> None:
        self.missing += missing
        self.published += published


def _imagenet(release: Release, root: Path, source: Path) -> _Count:
    result = _Count()
    problems = result.problems
    for split in release.counts:
        require_folder(root / split, "images in folders such as n01440764")
    if lost := set(_folders(root / "val")) ^ set(_folders(root / "train")):
        problems += [f"{len(lost):,} classes are only in train or only in val:", *_shown(lost)]
    for split, expected in release.counts.items():
        found = {name: _images(root / split / name) for name in _folders(root / split)}
        if len(found) != release.classes:
            classes = f"{release.classes:,} were expected"
            problems.append(f"{root / split} has {len(found):,} class folders, {classes}")
        total = sum(map(len, found.values()))
        if total != expected:
            problems.append(f"{root / split} holds {total:,} images, {expected:,} were expected")
        # By name also where the number is right: a stray file may stand in for a missing one.
        if split == "val":
            names = {name for images in found.values() for name in images}
            published = {validation_name(number) for number in range(1, expected + 1)}
            result.compare(published, names)
        else:
            _compare_training(result, release, found, root, source)
    return result


def _compare_training(
    result: _Count, release: Release, found: dict[str, set[str]], root: Path, source: Path
) -> None:
    """By name where there is something that knows the names; else what no name may be."""
    published = _published_training(release, root, source)
    if published is not None:
        names = {f"{wnid}/{image}" for wnid, images in found.items() for image in images}
        result.compare(published, names)
        return
    total, expected = sum(map(len, found.values())), release.counts["train"]
    result.add(max(0, expected - total), expected)
    strays = [
        f"{wnid}/{image}"
        for wnid, images in found.items()
        for image in images
        if not re.fullmatch(rf"{re.escape(wnid)}_[0-9]+\.JPEG", image)
    ]
    lines = _differences((), strays)
    if strays or total != expected:
        few = min(found, key=lambda name: len(found[name]), default=None)
        least = "" if few is None else f"; the fewest, {len(found[few]):,}, are in {few}"
        lines.append(f"  {release.archives[0].name} in {source} would tell their names{least}")
    result.problems += lines


def _published_training(release: Release, root: Path, source: Path) -> set[str] | None:
    """`<class>/<file>` of all training images: from the archive, or Kaggle's list beside them."""
    archive = source / release.archives[0].name
    if archive.is_file():
        # One that is damaged, or still on its way, tells nothing of a data set that is there.
        with suppress(DataError):
            return {
                f"{member.name.removesuffix('.tar')}/{inner.name}"
                for member in members(archive)
                for inner in inner_members(archive, member)
            }
    above = (root / "train").resolve().parents
    listed = above[min(2, len(above) - 1)] / "ImageSets/CLS-LOC/train_cls.txt"
    if not listed.is_file():
        return None
    lines = read_data(listed, most_bytes=_MOST_LIST_BYTES).decode("utf-8", "replace").splitlines()
    return {f"{line.split()[0]}.JPEG" for line in lines if line.strip()}


def _voc(release: Release, root: Path, source: Path) -> _Count:
    result = _Count()
    problems = result.problems
    for split, expected in release.counts.items():
        year = split.split("/")[0]
        try:
            ids = read_image_set(root, split)
        except DataError as error:
            problems.append(str(error))
            continue
        if len(ids) != expected:
            problems.append(f"{root}/{split} lists {len(ids):,} images, {expected:,} were expected")
        wanted = {f"{year}/JPEGImages/{image_id}.jpg" for image_id in ids}
        wanted |= {f"{year}/Annotations/{image_id}.xml" for image_id in ids}
        there = {
            f"{year}/{folder}/{name}"
            for folder in ("JPEGImages", "Annotations")
            for name in os.listdir(root / year / folder)
        }
        lost = wanted - there
        result.add(len(lost) + 2 * max(0, expected - len(ids)), 2 * expected)
        if lost:
            problems += [f"{len(lost):,} files of {split} are missing:", *_shown(lost)]
    return result


def _ade20k(release: Release, root: Path, source: Path) -> _Count:
    result = _Count()
    for split, expected in release.counts.items():
        stems = [f"{_ADE20K_PREFIX[split]}_{number:08d}" for number in range(1, expected + 1)]
        for part, suffix in (("images", ".jpg"), ("annotations", ".png")):
            folder = root / part / split
            require_folder(folder, f"{expected:,} files {stems[0]}{suffix}, ...")
            names = {name for name in os.listdir(folder) if name.endswith(suffix)}
            published = {f"{stem}{suffix}" for stem in stems}
            if names != published:
                number = f"{len(names):,} files, {expected:,} were expected"
                result.problems.append(f"{folder}: {number}")
            result.compare(published, names)
    return result


_COUNTS: dict[str, Callable[[Release, Path, Path], _Count]] = {
    "imagenet": _imagenet,
    "voc": _voc,
    "ade20k": _ade20k,
}


def _differences(published: Collection[str], found: Collection[str]) -> list[str]:
    lines = []
    for what, names in (
        ("missing", set(published) - set(found)),
        ("not of the published ones", set(found) - set(published)),
    ):
        if names:
            lines += [f"  {len(names):,} {what}:", *_shown(names)]
    return lines


def _shown(names: Iterable[str]) -> list[str]:
    every = sorted(names)
    shown = _SHOWN_OF_MANY if len(every) > MANY else SHOWN
    more = [f"    and {len(every) - shown:,} more"] if len(every) > shown else []
    return [*(f"    {name}" for name in every[:shown]), *more]


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _images(folder: Path) -> set[str]:
    return {
        name
        for name in os.listdir(folder)
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    }
