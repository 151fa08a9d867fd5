"""The Pascal VOC layout: `<year>/{Annotations,ImageSets/Main,JPEGImages}`."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

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

LAYOUT = "<year>/Annotations/*.xml, <year>/ImageSets/Main/*.txt and <year>/JPEGImages/*.jpg"
MOST_XML_BYTES = 2**20
"""Real annotations have some tens of kilobytes."""
MOST_LIST_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class VOCObject:
    """A box as VOC writes it: 1-based pixels, both corners inside it (width = x2 - x1 + 1)."""

    name: str
    x1: float
    y1: float
    x2: float
    y2: float
    difficult: bool
    occluded: bool
    truncated: bool


@dataclass(frozen=True, kw_only=True)
class VOCImage:
    """One annotated image. Paths are relative to the devkit; width and height in pixels."""

    image_id: str
    image: str
    annotation: str
    width: int
    height: int
    objects: tuple[VOCObject, ...]
    degenerate: int
    """How many boxes without an area were dropped."""


def read_image_set(root: Path, split: str) -> tuple[str, ...]:
    """The image ids of a split `<year>/<image set>`, in the order of its file.

    The lines of a class's own list (`<id> 1`, `<id> -1`) are read too: their first word counts.
    Raises DataError: a missing folder or list, an empty list, an id that it names twice, an id
    that is no file name.
    """
    year, _, name = split.partition("/")
    require_folder(root, f"a data set in the Pascal VOC layout: {LAYOUT}")
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        require_folder(root / year / folder, f"a part of the Pascal VOC layout: {LAYOUT}")
    file = root / year / "ImageSets" / "Main" / f"{name}.txt"
    require_file(file, "one image id a line")
    try:
        lines = read_data(file, most_bytes=MOST_LIST_BYTES).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no UTF-8 text: {error}") from error
    ids = tuple(line.split()[0] for line in lines if line.strip())
    if not ids:
        raise DataError(f"{file} is empty; it should hold one image id a line")
    require_plain_names(ids, file)
    if len(set(ids)) != len(ids):
        repeated = next(name for name, count in Counter(ids).items() if count > 1)
        raise DataError(f"{file} names {repeated} more than once")
    for image_id in ids:
        if "/" in image_id or "\\" in image_id or image_id in (".", ".."):
            raise DataError(
                f"{file} names {image_id!r}; an image id is the name of a file in JPEGImages, "
                "without folder or suffix"
            )
    return ids


def read_annotation(root: Path, year: str, image_id: str, classes: Sequence[str]) -> VOCImage:
    """Read and check one XML file of `root`/`year`.

    Boxes without an area (x2 = x1 or y2 = y1) are dropped and counted in `degenerate`: real
    sets have a few, and neither a detector nor AP can use them. Coordinates may be fractional.
    The image is the one of the same name: what <filename> and <path> say is not followed.

    Raises DataError naming the file: not XML, with a DTD (whose entities could unfold to gigabytes
    or fetch files), a tag that is missing or no number, a class that is not in `classes`, a box
    that is inverted or outside the image.
    """
    annotation = f"{year}/Annotations/{image_id}.xml"
    path = root / annotation
    try:
        tree = ET.XML(read_data(path, most_bytes=MOST_XML_BYTES), ET.XMLParser(target=_NoDTD()))
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two: its encoding
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not XML: {error}") from error
    width, height = (int(_number(path, tree, f"size/{side}")) for side in ("width", "height"))
    objects = [_read_object(path, node, classes, width, height) for node in tree.findall("object")]
    kept = tuple(item for item in objects if item.x2 > item.x1 and item.y2 > item.y1)
    return VOCImage(
        image_id=image_id,
        image=_image_path(year, image_id),
        annotation=annotation,
        width=width,
        height=height,
        objects=kept,
        degenerate=len(objects) - len(kept),
    )


def read_split(
    root: Path, split: str, classes: Sequence[str], *, left_out: Collection[str] = ()
) -> tuple[VOCImage, ...]:
    """All images of a split `<year>/<image set>`, in the order of its list; see read_annotation.

    left_out: images (paths relative to the root) that are not read.
    """
    year = split.partition("/")[0]
    return tuple(
        read_annotation(root, year, image_id, classes)
        for image_id in read_image_set(root, split)
        if _image_path(year, image_id) not in left_out
    )


def _image_path(year: str, image_id: str) -> str:
    return f"{year}/JPEGImages/{image_id}.jpg"


def stage_data(root: Path, splits: Sequence[str], classes: Sequence[str]) -> StageData:
    """The lists, annotations and images of `splits`, the last of which is the test split.

    Raises DataError as `read_image_set` does."""
    samples: list[Sample] = []
    lists: list[str] = []
    for split in splits:
        year, _, name = split.partition("/")
        lists.append(f"{year}/ImageSets/Main/{name}.txt")
        samples += [
            Sample(
                split=split,
                image=_image_path(year, image_id),
                annotation=f"{year}/Annotations/{image_id}.xml",
            )
            for image_id in read_image_set(root, split)
        ]
    return StageData(
        files=DatasetFiles(root=root, samples=tuple(samples), lists=tuple(lists)),
        unit="boxes",
        test=splits[-1],
        classes=tuple(classes),
        inspect=partial(_inspect, root, tuple(classes)),
        conclude=partial(_conclude, root, tuple(splits)),
        question=[list(splits), list(classes)],
    )


def _inspect(root: Path, classes: tuple[str, ...], sample: Sample) -> Finding:
    """The image is whole and of the annotation's size; see read_annotation and check_image."""
    assert sample.annotation is not None, "every image has an annotation"
    annotation = Path(sample.annotation)
    image = read_annotation(root, annotation.parts[0], annotation.stem, classes)
    size = check_image(root / sample.image).shown
    if size != (image.width, image.height):
        raise DataError(
            f"{root / sample.annotation} says {image.width}x{image.height} pixels, "
            f"{root / sample.image} has {size[0]}x{size[1]}"
        )
    return Finding(
        counts=dict(Counter(item.name for item in image.objects)), degenerate=image.degenerate
    )


def _conclude(
    root: Path, splits: tuple[str, ...], found: Iterable[tuple[Sample, Finding]]
) -> tuple[str, ...]:
    """DataError for a split without any object; a warning about boxes that were dropped."""
    found = list(found)
    for split in splits:
        if not any(finding.counts for sample, finding in found if sample.split == split):
            raise DataError(f"the annotations of {root / split} hold no objects at all")
    flat = {sample.annotation or "": f.degenerate for sample, f in found if f.degenerate}
    if not flat:
        return ()
    names = sorted({Path(annotation).name for annotation in flat})
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (f"dropped {sum(flat.values())} boxes without an area ({', '.join(names[:5])}{more})",)


class _NoDTD(ET.TreeBuilder):
    """Stops at a document type declaration, before anything in it is read."""

    def doctype(self, name: str, public: str | None, system: str | None) -> NoReturn:
        raise ET.ParseError(f"it declares a document type ({name!r}), which no annotation needs")


def _read_object(
    path: Path, node: ET.Element, classes: Sequence[str], width: int, height: int
) -> VOCObject:
    name = (node.findtext("name") or "").strip()
    if name not in classes:
        raise DataError(
            f"{path}: an object of class {name!r}, which the benchmark does not name; "
            f"its classes are {', '.join(classes)}"
        )
    corners = ("xmin", "ymin", "xmax", "ymax")
    x1, y1, x2, y2 = (_number(path, node, f"bndbox/{corner}") for corner in corners)
    if min(x1, x2) < 1 or min(y1, y2) < 1 or max(x1, x2) > width or max(y1, y2) > height:
        raise DataError(
            f"{path}: the box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) of a {name} is outside its image "
            f"of {width}x{height} pixels; corners are counted from 1 and lie inside the box"
        )
    if x2 < x1 or y2 < y1:
        raise DataError(
            f"{path}: the box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) of a {name} is inverted; "
            "xmin and ymin are its upper left corner"
        )
    difficult, occluded, truncated = (
        node.findtext(flag, "0").strip() == "1" for flag in ("difficult", "occluded", "truncated")
    )
    return VOCObject(
        name=name,
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        difficult=difficult,
        occluded=occluded,
        truncated=truncated,
    )


def _number(path: Path, node: ET.Element, tag: str) -> float:
    text = node.findtext(tag)
    if text is None:
        raise DataError(f"{path}: <{node.tag}> has no <{tag}>")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{path}: <{tag}> should be a number, got {text[:40]!r}")
    return number
