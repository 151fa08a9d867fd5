"""The Pascal VOC layout: `<year>/{Annotations,ImageSets/Main,JPEGImages}`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataset_files import DatasetFiles, require_file, require_folder
from benchmarks.errors import DataError
from benchmarks.image_files import check_image

LAYOUT = "<year>/Annotations/*.xml, <year>/ImageSets/Main/*.txt and <year>/JPEGImages/*.jpg"


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
    Raises DataError: a missing folder or list, an empty list, an id that it names twice.
    """
    year, _, name = split.partition("/")
    require_folder(root, f"a data set in the Pascal VOC layout: {LAYOUT}")
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        require_folder(root / year / folder, f"a part of the Pascal VOC layout: {LAYOUT}")
    file = root / year / "ImageSets" / "Main" / f"{name}.txt"
    require_file(file, "one image id a line")
    lines = file.read_text(encoding="utf-8").splitlines()
    ids = tuple(line.split()[0] for line in lines if line.strip())
    if not ids:
        raise DataError(f"{file} is empty; it should hold one image id a line")
    if len(set(ids)) != len(ids):
        repeated = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise DataError(f"{file} names {repeated} more than once")
    return ids


def read_annotation(root: Path, year: str, image_id: str, classes: Sequence[str]) -> VOCImage:
    """Read and check one XML file of `root`/`year`.

    Boxes without an area (x2 <= x1 or y2 <= y1) are dropped and counted in `degenerate`: real
    sets have a few, and neither a detector nor AP can use them. Coordinates may be fractional.

    Raises DataError naming the file: not XML, a tag that is missing or no number, a class that is
    not in `classes`, a box that is outside the image.
    """
    annotation = f"{year}/Annotations/{image_id}.xml"
    path = root / annotation
    try:
        tree = ET.parse(path).getroot()
    except OSError as error:
        raise DataError(f"{path} is listed in the data and not there: {error.strerror}") from error
    except ET.ParseError as error:
        raise DataError(f"{path} is not XML: {error}") from error
    width, height = (int(_number(path, tree, f"size/{side}")) for side in ("width", "height"))
    objects = [_read_object(path, node, classes, width, height) for node in tree.findall("object")]
    kept = tuple(item for item in objects if item.x2 > item.x1 and item.y2 > item.y1)
    return VOCImage(
        image_id=image_id,
        image=f"{year}/JPEGImages/{image_id}.jpg",
        annotation=annotation,
        width=width,
        height=height,
        objects=kept,
        degenerate=len(objects) - len(kept),
    )


def read_split(root: Path, split: str, classes: Sequence[str]) -> tuple[VOCImage, ...]:
    """All images of a split `<year>/<image set>`, in the order of its list; see read_annotation."""
    year = split.partition("/")[0]
    return tuple(
        read_annotation(root, year, image_id, classes) for image_id in read_image_set(root, split)
    )


def list_files(root: Path, splits: Sequence[str]) -> DatasetFiles:
    """The lists, annotations and images of `splits`, whether they are there or not."""
    images: list[str] = []
    annotations: list[str] = []
    for split in splits:
        year, _, name = split.partition("/")
        ids = read_image_set(root, split)
        images += [f"{year}/JPEGImages/{image_id}.jpg" for image_id in ids]
        annotations.append(f"{year}/ImageSets/Main/{name}.txt")
        annotations += [f"{year}/Annotations/{image_id}.xml" for image_id in ids]
    return DatasetFiles(root=root, images=tuple(images), annotations=tuple(annotations))


def check_files(root: Path, splits: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Check every image and annotation of `splits`; returns warnings.

    Raises DataError naming the file; see read_annotation and check_image.
    """
    degenerate: list[VOCImage] = []
    for split in splits:
        images = read_split(root, split, classes)
        for image in images:
            size = check_image(root / image.image)
            if size != (image.width, image.height):
                raise DataError(
                    f"{root / image.annotation} says {image.width}x{image.height} pixels, "
                    f"{root / image.image} has {size[0]}x{size[1]}"
                )
        if not any(image.objects for image in images):
            raise DataError(f"the annotations of {root / split} hold no objects at all")
        degenerate += [image for image in images if image.degenerate]
    if not degenerate:
        return ()
    count = sum(image.degenerate for image in degenerate)
    names = sorted({f"{image.image_id}.xml" for image in degenerate})
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (f"dropped {count} boxes without an area ({', '.join(names[:5])}{more})",)


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
        return float(text)
    except ValueError as error:
        raise DataError(f"{path}: <{tag}> should be a number, got {text!r}") from error
