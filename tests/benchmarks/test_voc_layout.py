"""Pascal VOC's lists and XML files, as read and as refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.dataset_files import StageData
from benchmarks.errors import DataError
from benchmarks.voc_layout import (
    VOCObject,
    read_annotation,
    read_image_set,
    read_split,
    stage_data,
)

CLASSES = ("cat", "dog")
Check = Callable[[StageData], tuple[str, ...]]


def box(name: str, corners: tuple[float, ...], **flags: int) -> str:
    tags = "".join(f"<{flag}>{value}</{flag}>" for flag, value in flags.items())
    sides = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name>{tags}<bndbox>{sides}</bndbox></object>"


def annotation(*objects: str, width: int = 40, height: int = 30) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images and a test image of 40x30 pixels, one cat in each."""
    year = tmp_path / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (year / folder).mkdir(parents=True)
    for split, ids in (("trainval", ["b", "a"]), ("test", ["c"])):
        (year / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(ids) + "\n\n")
        for image_id in ids:
            cv2.imwrite(str(year / "JPEGImages" / f"{image_id}.jpg"), np.zeros((30, 40, 3)))
            put(tmp_path, image_id, annotation(box("cat", (1, 1, 40, 30))))
    return tmp_path


def put(root: Path, image_id: str, text: str) -> None:
    (root / "VOC2007" / "Annotations" / f"{image_id}.xml").write_text(text)


def read(root: Path) -> tuple[VOCObject, ...]:
    return read_annotation(root, "VOC2007", "a", CLASSES).objects


def test_an_image_set_keeps_its_order(root: Path) -> None:
    assert read_image_set(root, "VOC2007/trainval") == ("b", "a")
    images = read_split(root, "VOC2007/trainval", CLASSES)
    assert [image.image_id for image in images] == ["b", "a"]
    assert [image.image for image in images] == [
        "VOC2007/JPEGImages/b.jpg",
        "VOC2007/JPEGImages/a.jpg",
    ]
    assert {(image.width, image.height) for image in images} == {(40, 30)}


def test_a_class_list_is_read_by_its_first_column(root: Path) -> None:
    (root / "VOC2007/ImageSets/Main/cat_trainval.txt").write_text("b  1\na -1\n")
    assert read_image_set(root, "VOC2007/cat_trainval") == ("b", "a")


def test_boxes_and_flags_are_as_written(root: Path) -> None:
    text = annotation(
        box("cat", (1, 1, 40, 30), difficult=1, truncated=0, occluded=1),
        box("dog", (2.5, 3, 4, 5), truncated=1),
    )
    put(root, "a", text)
    assert read(root) == (
        VOCObject(
            name="cat", x1=1, y1=1, x2=40, y2=30, difficult=True, occluded=True, truncated=False
        ),
        VOCObject(
            name="dog", x1=2.5, y1=3, x2=4, y2=5, difficult=False, occluded=False, truncated=True
        ),
    )


def test_parts_of_objects_are_not_objects(root: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    put(root, "a", annotation(box("cat", (5, 5, 9, 9)).replace("</object>", f"{part}</object>")))
    assert [(item.name, item.x1) for item in read(root)] == [("cat", 5)]


@pytest.mark.parametrize("corners", [(5, 5, 5, 5), (5, 5, 5, 9), (5, 5, 9, 5)])
def test_boxes_without_an_area_are_dropped_and_counted(
    check: Check, root: Path, corners: tuple[float, ...]
) -> None:
    put(root, "a", annotation(box("dog", corners), box("cat", (1, 1, 9, 9))))
    image = read_annotation(root, "VOC2007", "a", CLASSES)
    assert [item.name for item in image.objects] == ["cat"]
    assert image.degenerate == 1
    warnings = check(stage_data(root, ["VOC2007/trainval", "VOC2007/test"], CLASSES))
    assert warnings == ("dropped 1 boxes without an area (a.xml)",)


@pytest.mark.parametrize(
    "corners", [(0, 1, 9, 9), (1, 0, 9, 9), (1, 1, 41, 9), (1, 1, 9, 31), (50, 50, 50, 50)]
)
def test_a_box_outside_its_image_is_named(root: Path, corners: tuple[float, ...]) -> None:
    put(root, "a", annotation(box("cat", corners)))
    with pytest.raises(DataError, match=r"a\.xml: the box .* is outside its image of 40x30"):
        read(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotation(box("cow", (1, 1, 9, 9))), "class 'cow', which the benchmark does not name"),
        ("<annotation><size>", "is not XML"),
        ("<annotation></annotation>", "<annotation> has no <size/width>"),
        (annotation("<object><name>cat</name></object>"), "<object> has no <bndbox/xmin>"),
        (annotation(box("cat", (1, 1, 9, 9))).replace(">40<", ">x<"), "should be a number"),
    ],
)
def test_a_wrong_annotation_is_named(root: Path, text: str, message: str) -> None:
    put(root, "a", text)
    with pytest.raises(DataError, match=message) as caught:
        read(root)
    assert "a.xml" in str(caught.value)


def test_a_size_that_is_not_the_images_is_named(check: Check, root: Path) -> None:
    put(root, "a", annotation(box("cat", (1, 1, 9, 9)), width=30, height=40))
    with pytest.raises(DataError, match=r"a\.xml says 30x40 pixels, .*a\.jpg has 40x30"):
        check(stage_data(root, ["VOC2007/trainval"], CLASSES))


def test_a_truncated_photograph_is_named(check: Check, root: Path) -> None:
    image = root / "VOC2007/JPEGImages/b.jpg"
    image.write_bytes(image.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"b\.jpg is truncated"):
        check(stage_data(root, ["VOC2007/trainval"], CLASSES))


@pytest.mark.parametrize("lost", ["VOC2007/JPEGImages/a.jpg", "VOC2007/Annotations/a.xml"])
def test_a_listed_file_that_is_missing_is_named(check: Check, root: Path, lost: str) -> None:
    (root / lost).unlink()
    with pytest.raises(DataError, match=f"{lost} is listed in the data and not there"):
        check(stage_data(root, ["VOC2007/trainval"], CLASSES))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("VOC2012/trainval", r"no folder \S+/VOC2012/Annotations; .*<year>/Annotations"),
        ("VOC2007/val", r"no file \S+/Main/val.txt; it should hold one image id a line"),
    ],
)
def test_half_present_data_is_named(root: Path, split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_image_set(root, split)


def test_lists_that_are_empty_or_repeat_an_image_are_refused(root: Path) -> None:
    file = root / "VOC2007/ImageSets/Main/trainval.txt"
    file.write_text("\n")
    with pytest.raises(DataError, match=r"trainval\.txt is empty"):
        read_image_set(root, "VOC2007/trainval")
    file.write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"trainval\.txt names a more than once"):
        read_image_set(root, "VOC2007/trainval")


def test_annotations_without_any_object_are_refused(check: Check, root: Path) -> None:
    put(root, "c", annotation())
    with pytest.raises(DataError, match="VOC2007/test hold no objects"):
        check(stage_data(root, ["VOC2007/trainval", "VOC2007/test"], CLASSES))
