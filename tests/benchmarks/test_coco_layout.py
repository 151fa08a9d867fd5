"""COCO's annotations, as read and as refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import coco_layout
from benchmarks.coco_layout import read_instances, read_split, stage_data
from benchmarks.dataset_files import StageData
from benchmarks.errors import DataError

CLASSES = ("cat", "dog")
CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 90, "name": "dog"}]
Check = Callable[[StageData], tuple[str, ...]]


def box(number: int, image: int, category: int, bbox: Any, **more: Any) -> dict[str, Any]:
    """As COCO writes one, outlines included."""
    outline = {"segmentation": [[0.0, 0.0, 5.0, 0.0, 5.0, 5.0]], "area": 12.5, "iscrowd": 0}
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox,
        **outline,
        **more,
    }


def put(root: Path, split: str, **tables: Any) -> None:
    file = root / "annotations" / f"instances_{split}.json"
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **tables}))
    coco_layout._read.cache_clear()  # within the resolution of the disk's clock, perhaps


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images 7 and 3 to learn, of 40x30 pixels, and one to test; ids with gaps."""
    (tmp_path / "annotations").mkdir()
    for split, numbers in (("train2017", [7, 3]), ("val2017", [5])):
        (tmp_path / split).mkdir()
        images = [
            {"id": n, "file_name": f"{n:012}.jpg", "width": 40, "height": 30} for n in numbers
        ]
        for image in images:
            cv2.imwrite(str(tmp_path / split / str(image["file_name"])), np.zeros((30, 40, 3)))
        objects = [box(100 + n, n, 90, [1.25, 2.5, 20.5, 10]) for n in numbers]
        put(tmp_path, split, images=images, annotations=objects, categories=CATEGORIES, info={})
    return tmp_path


def data(root: Path) -> StageData:
    return stage_data(root, ["train2017", "val2017"], CLASSES)


def test_boxes_are_those_of_their_images_by_name(root: Path) -> None:
    put(
        root,
        "train2017",
        annotations=[
            box(1, 7, 17, [0, 0, 10, 20.5]),
            box(
                2, 3, 90, [4.5, 5, 6, 7], iscrowd=1, segmentation={"counts": [3], "size": [30, 40]}
            ),
            box(3, 7, 90, [30, 20, 10, 10]),
        ],
    )
    three, seven = read_split(root, "train2017", CLASSES)
    assert (three.name, three.width, three.height) == ("000000000003.jpg", 40, 30)
    assert three.boxes.tolist() == [[4.5, 5, 10.5, 12]]
    assert (three.labels.tolist(), three.crowd.tolist()) == ([1], [True])
    assert seven.boxes.tolist() == [[0, 0, 10, 20.5], [30, 20, 40, 30]]
    assert (seven.labels.tolist(), seven.crowd.tolist()) == ([0, 1], [False, False])
    (left,) = read_split(root, "train2017", CLASSES, left_out={"train2017/000000000003.jpg"})
    assert left.name == seven.name


def test_an_image_without_boxes_is_one_too(root: Path) -> None:
    put(root, "train2017", annotations=[box(1, 7, 17, [0, 0, 10, 20])])
    three, seven = read_split(root, "train2017", CLASSES)
    assert (three.boxes.shape, len(seven.boxes)) == ((0, 4), 1)


def test_the_same_comes_from_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_instances(root, "train2017", CLASSES)
    coco_layout._read.cache_clear()
    monkeypatch.setattr(coco_layout, "_parse", None)  # would be called
    second = read_instances(root, "train2017", CLASSES)
    assert second is not first
    for image, same in zip(first, second, strict=True):
        assert image.name == same.name
        assert image.boxes.tolist() == same.boxes.tolist()


def test_whole_data_is_listed_and_counted(check: Check, root: Path) -> None:
    found = data(root)
    assert check(found) == ()
    assert found.files.lists == (
        "annotations/instances_train2017.json",
        "annotations/instances_val2017.json",
    )
    assert [sample.image for sample in found.files.samples] == [
        "train2017/000000000003.jpg",
        "train2017/000000000007.jpg",
        "val2017/000000000005.jpg",
    ]
    assert found.inspect(found.files.samples[0]).counts == {"dog": 1}


def test_boxes_that_are_not_learnt_are_counted(check: Check, root: Path) -> None:
    odd = [[5, 5, 0.5, 9], [5, 5, 9, 0], [50, 5, 9, 9], [39.5, 29.5, 1, 1]]
    rows = [box(n, 7, 17, bbox) for n, bbox in enumerate(odd)]
    put(root, "train2017", annotations=[*rows, box(9, 3, 17, [0, 0, 9, 9])])
    assert check(data(root)) == ("3 boxes below a pixel or outside their image are not learnt",)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"annotations": [box(1, 7, 5, [0, 0, 9, 9])]}, r"category 5 \(no name\)"),
        ({"annotations": [box(1, 8, 17, [0, 0, 9, 9])]}, "an annotation of image 8"),
        ({"annotations": [box(1, 7, 17, [0, 0, 9])]}, r"x, y, width and height, got \[0, 0, 9\]"),
        ({"annotations": [box(1, 7, 17, [0, 0, "9", float("nan")])]}, "x, y, width and height"),
        ({"annotations": [box(1, 7, 17, [9, 9, -5, 3])]}, "negative side"),
        ({"annotations": {}}, "no list 'annotations'"),
        ({"annotations": []}, "holds no objects at all"),
        ({"images": []}, "names no images"),
        ({"images": [{"id": 7, "width": 40, "height": 30}]}, "file_name should be a text"),
        ({"categories": CATEGORIES[:1]}, "has no category dog"),
        (
            {"categories": [*CATEGORIES, {"id": 1, "name": "cow"}],
             "annotations": [box(1, 7, 1, [0, 0, 9, 9])]},
            r"category 1 \(cow\), which the benchmark does not name",
        ),
        (
            {"images": [{"id": 7, "file_name": "../x.jpg", "width": 40, "height": 30}],
             "annotations": [box(1, 7, 17, [0, 0, 9, 9])]},
            "no path below its folder",
        ),
    ],
)  # fmt: skip
def test_wrong_annotations_are_refused(
    check: Check, root: Path, tables: dict[str, Any], said: str
) -> None:
    put(root, "train2017", **tables)
    with pytest.raises(DataError, match=rf"instances_train2017\.json.*{said}"):
        check(data(root))


def test_missing_and_other_images_are_named(check: Check, root: Path) -> None:
    (root / "train2017" / "000000000003.jpg").unlink()
    cv2.imwrite(str(root / "train2017" / "000000000007.jpg"), np.zeros((31, 40, 3)))
    with pytest.raises(DataError) as caught:
        check(data(root))
    missing, other = str(caught.value).splitlines()
    assert "no image" in missing
    assert "000000000003.jpg" in missing
    assert "says 40x30 pixels" in other
    assert "000000000007.jpg has 40x31" in other


@pytest.mark.parametrize(
    ("gone", "said"),
    [("val2017", "no folder .*val2017"), ("annotations", r"no file .*instances_train2017\.json")],
)
def test_what_is_missing_is_named(root: Path, gone: str, said: str) -> None:
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(DataError, match=said):
        data(root)


def test_what_is_no_json_is_named(root: Path) -> None:
    (root / "annotations" / "instances_val2017.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"instances_val2017\.json is not JSON"):
        data(root)
