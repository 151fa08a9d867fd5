"""The COCO layout: `<split>/*.jpg` and `annotations/instances_<split>.json`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from benchmarks.array_file import read_arrays, write_arrays
from benchmarks.cache import DamagedEntry
from benchmarks.dataset_files import (
    DatasetFiles,
    Finding,
    Sample,
    StageData,
    read_data,
    require_file,
    require_folder,
    require_plain_names,
)
from benchmarks.errors import DataError
from benchmarks.image_files import check_image
from benchmarks.name_table import NameTable

LAYOUT = "annotations/instances_<split>.json and for each split a folder <split>/*.jpg"
MOST_JSON_BYTES = 4 * 2**30
"""instances_train2017.json has 470 MB."""
_Value = TypeVar("_Value", int, str)

_FORMAT = 1
"""Counts up when what is kept in the cache changes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class COCOImage:
    """One image. name: below the split's folder; width and height in pixels.

    boxes: (n, 4) x1, y1, x2, y2 as annotated, x2 = x1 + width; labels: (n,) places among the
    benchmark's classes; crowd: (n,) bool, boxes around more than one object.
    """

    name: str
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray

    @property
    def learnable(self) -> np.ndarray:
        """(n,) bool: at least a pixel wide and high, and not all outside the image; those that
        MMDetection's CocoDataset keeps."""
        x1, y1, x2, y2 = self.boxes.T
        wide = (x2 - x1 >= 1) & (np.minimum(x2, self.width) > np.maximum(x1, 0))
        high = (y2 - y1 >= 1) & (np.minimum(y2, self.height) > np.maximum(y1, 0))
        kept: np.ndarray = wide & high
        return kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """A file of annotations without what no detector reads, some 50 bytes a box.

    names: sorted; sizes: (n, 2) width, height; first: (n + 1,) where each image's boxes begin among
    boxes, labels and crowd, which are those of COCOImage one after another.
    """

    names: NameTable
    sizes: np.ndarray
    first: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray

    def __iter__(self) -> Iterator[COCOImage]:
        return (self.image(place) for place in range(len(self.names)))

    def image(self, place: int) -> COCOImage:
        rows = slice(int(self.first[place]), int(self.first[place + 1]))
        width, height = self.sizes[place].tolist()
        return COCOImage(
            name=self.names[place],
            width=width,
            height=height,
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            crowd=self.crowd[rows],
        )


def read_instances(root: Path, split: str, classes: Sequence[str]) -> Instances:
    """`annotations/instances_<split>.json`, whose categories' ids may be any numbers.

    What was read is kept in the cache until the file changes: to parse COCO's takes some ten
    seconds. Raises DataError naming the file: missing, not JSON, not in COCO's form, a category
    that is not in `classes` or missing there, an image or annotation that does not fit the rest.
    """
    file = _file(root, split)
    require_file(file, "the annotations of a split in the COCO layout")
    found = os.stat(file)
    return _read(file, found.st_size, found.st_mtime_ns, tuple(classes))


def read_split(
    root: Path, split: str, classes: Sequence[str], *, left_out: Collection[str] = ()
) -> Iterator[COCOImage]:
    """All images of a split, by name; left_out: those (paths below the root) that are skipped."""
    for image in read_instances(root, split, classes):
        if f"{split}/{image.name}" not in left_out:
            yield image


def stage_data(root: Path, splits: Sequence[str], classes: Sequence[str]) -> StageData:
    """The images and annotations of `splits`, the last of which is the test split.

    Raises DataError as `read_instances` does."""
    require_folder(root, f"a data set in the COCO layout: {LAYOUT}")
    samples: list[Sample] = []
    for split in splits:
        require_folder(root / split, f"a part of the COCO layout: {LAYOUT}")
        names = read_instances(root, split, classes).names
        samples += [Sample(split=split, image=f"{split}/{name}") for name in names]
    lists = tuple(_file(root, split).relative_to(root).as_posix() for split in splits)
    return StageData(
        files=DatasetFiles(root=root, samples=tuple(samples), lists=lists),
        unit="boxes",
        test=splits[-1],
        classes=tuple(classes),
        inspect=partial(_inspect, root, tuple(classes)),
        conclude=partial(_conclude, root, tuple(splits)),
        question=["coco", list(splits), list(classes)],
    )


def _inspect(root: Path, classes: tuple[str, ...], sample: Sample) -> Finding:
    """The image is whole and of the annotated size, and no box is inverted."""
    instances = read_instances(root, sample.split, classes)
    place = instances.names.find(sample.image.removeprefix(f"{sample.split}/"))
    assert place is not None, "the file names its images"
    image = instances.image(place)
    file, said = root / sample.image, _file(root, sample.split)
    if not file.exists():
        raise DataError(f"no image {file}, which {said} names")
    size = check_image(file).shown
    if size != (image.width, image.height):
        raise DataError(
            f"{said} says {image.width}x{image.height} pixels, {file} has {size[0]}x{size[1]}"
        )
    sides = image.boxes[:, 2:] - image.boxes[:, :2]
    if (wrong := np.flatnonzero((sides < 0).any(axis=1))).size:
        x, y, *_ = image.boxes[wrong[0]]
        width, height = sides[wrong[0]]
        raise DataError(
            f"{said}: the box ({x:g}, {y:g}, {width:g}, {height:g}) in {image.name} has a negative "
            "side; a bbox is x, y, width and height"
        )
    counts = Counter(classes[label] for label in image.labels.tolist())
    return Finding(counts=dict(counts), degenerate=int((~image.learnable).sum()))


def _conclude(
    root: Path, splits: tuple[str, ...], found: Iterable[tuple[Sample, Finding]]
) -> tuple[str, ...]:
    """DataError for a split without any object; a warning about boxes that are not learnt."""
    found = list(found)
    for split in splits:
        if not any(finding.counts for sample, finding in found if sample.split == split):
            raise DataError(f"{_file(root, split)} holds no objects at all")
    few = sum(finding.degenerate for _, finding in found)
    return (f"{few} boxes below a pixel or outside their image are not learnt",) if few else ()


def _file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


@lru_cache(maxsize=4)
def _read(file: Path, size: int, mtime_ns: int, classes: tuple[str, ...]) -> Instances:
    key = json.dumps([_FORMAT, str(file), size, mtime_ns, classes])
    try:
        kept = read_arrays("coco", key)
    except DamagedEntry:
        kept = None
    if kept is not None:
        arrays = dict(kept.arrays)
        names = NameTable(arrays.pop("text"), arrays.pop("ends"))
        return Instances(names=names, **arrays)
    made = _parse(file, classes)
    write_arrays(
        "coco",
        key,
        {},
        {
            "text": made.names.text,
            "ends": made.names.ends,
            "sizes": made.sizes,
            "first": made.first,
            "boxes": made.boxes,
            "labels": made.labels,
            "crowd": made.crowd,
        },
    )
    return made


def _parse(file: Path, classes: tuple[str, ...]) -> Instances:
    images, annotations, categories = _tables(file)
    names = {_entry(file, c, "id", int): _entry(file, c, "name", str) for c in categories}
    if missing := [name for name in classes if name not in names.values()]:
        raise DataError(
            f"{file} has no category {', '.join(missing)}, which the benchmark names; its "
            f"categories are {', '.join(names.values())}"
        )
    files = [_entry(file, image, "file_name", str) for image in images]
    _require_names(file, files)
    places = {
        _entry(file, images[at], "id", int): place
        for place, at in enumerate(sorted(range(len(files)), key=files.__getitem__))
    }
    if len(places) != len(files):
        raise DataError(f"{file} gives two images the same id")
    sizes = np.zeros((len(files), 2), np.int64)
    for image in images:
        sides = [_entry(file, image, side, int) for side in ("width", "height")]
        sizes[places[image["id"]]] = sides
    numbers = {name: number for number, name in enumerate(classes)}
    owners = np.zeros(len(annotations), np.int64)
    boxes = np.zeros((len(annotations), 4))
    labels = np.zeros(len(annotations), np.int64)
    crowd = np.zeros(len(annotations), bool)
    for row, item in enumerate(annotations):
        owner = places.get(_entry(file, item, "image_id", int))
        name = names.get(_entry(file, item, "category_id", int), "")
        if owner is None:
            raise DataError(f"{file}: an annotation of image {item['image_id']}, which it has not")
        if name not in numbers:
            raise DataError(
                f"{file}: an annotation of category {item['category_id']} ({name or 'no name'}), "
                f"which the benchmark does not name; its classes are {', '.join(classes)}"
            )
        owners[row], labels[row] = owner, numbers[name]
        boxes[row], crowd[row] = _box(file, item), bool(item.get("iscrowd", 0))
    order = np.argsort(owners, kind="stable")
    boxes[:, 2:] += boxes[:, :2]
    return Instances(
        names=NameTable.of(sorted(files)),
        sizes=sizes,
        first=np.searchsorted(owners[order], np.arange(len(files) + 1)),
        boxes=boxes[order],
        labels=labels[order],
        crowd=crowd[order],
    )


def _tables(file: Path) -> list[list[dict[str, Any]]]:
    """images, annotations, categories."""
    try:
        content = json.loads(
            read_data(file, most_bytes=MOST_JSON_BYTES), object_hook=_without_outlines
        )
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    tables = []
    for name in ("images", "annotations", "categories"):
        table = content.get(name) if isinstance(content, dict) else None
        if not isinstance(table, list) or not all(isinstance(item, dict) for item in table):
            raise DataError(f"{file} has no list {name!r}; COCO's files of instances have one")
        tables.append(table)
    if not tables[0]:
        raise DataError(f"{file} names no images")
    return tables


def _without_outlines(item: dict[str, Any]) -> dict[str, Any]:
    """The polygons are most of a file, and would be most of the memory."""
    item.pop("segmentation", None)
    return item


def _require_names(file: Path, names: Sequence[str]) -> None:
    require_plain_names(names, file)
    if len(set(names)) != len(names):
        raise DataError(f"{file} names {Counter(names).most_common(1)[0][0]} more than once")
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
            raise DataError(f"{file} names the image {name!r}, which is no path below its folder")


def _entry(file: Path, item: Mapping[str, Any], key: str, kind: type[_Value]) -> _Value:
    value = item.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        what = "a whole number" if kind is int else "a text"
        raise DataError(f"{file}: {key} should be {what}, got {str(value)[:40]!r}")
    return value


def _box(file: Path, item: Mapping[str, Any]) -> np.ndarray:
    """x, y, width, height."""
    try:
        box = np.asarray(item.get("bbox"), np.float64)
    except (TypeError, ValueError):
        box = np.empty(0)
    if box.shape != (4,) or not np.isfinite(box).all():
        said = str(item.get("bbox"))[:80]
        raise DataError(f"{file}: a bbox should be x, y, width and height, got {said}")
    return box
