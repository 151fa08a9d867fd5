"""What the detector learns from is what was checked: our reader's boxes, in MMDetection's terms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import DataError
from benchmarks.schema import Benchmark, load_benchmark
from engine.finetuning import prepare_openmmlab
from tests.other_layouts import as_coco_and_cityscapes

KEYS = ("img_id", "img_path", "width", "height", "instances")


@pytest.fixture(scope="module")
def data() -> Any:
    """The module detection.data."""
    prepare_openmmlab()
    from detection import data

    return data


def by_mmdet(benchmark: Benchmark, split: str, *, training: bool) -> list[dict[str, Any]]:
    """MMDetection's own parser, without the boxes that have no area."""
    from mmdet.datasets import VOCDataset

    budget = benchmark.detection
    assert budget is not None
    year, _, name = split.partition("/")
    filters = dict(filter_empty_gt=True, bbox_min_size=budget.bbox_min_size) if training else None
    found = VOCDataset(
        data_root=f"{budget.root}/",
        ann_file=f"{year}/ImageSets/Main/{name}.txt",
        data_prefix=dict(sub_data_root=f"{year}/"),
        metainfo=dict(classes=budget.classes, palette=None),
        test_mode=not training,
        filter_cfg=filters,
    )
    infos = [found.get_data_info(index) for index in range(len(found))]
    for info in infos:
        boxes = [(item, item["bbox"]) for item in info["instances"]]
        info["instances"] = [i for i, (x1, y1, x2, y2) in boxes if x2 > x1 and y2 > y1]
    return [{key: info[key] for key in KEYS} for info in infos]


def by_us(data: Any, benchmark: Benchmark, split: str, *, training: bool) -> list[dict[str, Any]]:
    found = data._dataset(benchmark.detection, split, [], training=training)
    infos = [found.get_data_info(index) for index in range(len(found))]
    return [{key: info[key] for key in KEYS} for info in infos]


@pytest.mark.parametrize("smallest", [0, 16])
def test_boxes_are_mmdetections(
    data: Any, make_benchmark: Callable[..., Path], tmp_path: Path, smallest: int
) -> None:
    benchmark = load_benchmark(make_benchmark(tmp_path, detection={"bbox_min_size": smallest}))
    for split, training in (("VOC2007/trainval", True), ("VOC2007/test", False)):
        expected = by_mmdet(benchmark, split, training=training)
        assert by_us(data, benchmark, split, training=training) == expected
    ignored = [item["ignore_flag"] for info in expected for item in info["instances"]]
    assert 0 < sum(ignored) < len(ignored)


@pytest.mark.parametrize("smallest", [0, 16])
def test_cocos_boxes_are_mmdetections(
    data: Any, make_benchmark: Callable[..., Path], tmp_path: Path, smallest: int
) -> None:
    from mmdet.datasets import CocoDataset

    toml = make_benchmark(tmp_path, detection={"bbox_min_size": smallest})
    benchmark = load_benchmark(as_coco_and_cityscapes(toml))
    budget = benchmark.detection
    assert budget is not None
    odd = [[5, 5, 0.5, 9], [70, 5, 9, 9], [-2.5, 50, 9, 15], [60, 1, 2.5, 40.25]]
    file = budget.root / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    first, empty = content["images"][0]["id"], content["images"][1]["id"]
    kept = [item for item in content["annotations"] if item["image_id"] != empty]
    content["annotations"] = kept + [
        {**kept[0], "id": 900 + n, "image_id": first, "bbox": box} for n, box in enumerate(odd)
    ]
    file.write_text(json.dumps(content))
    for split, training in (("train2017", True), ("val2017", False)):
        theirs = CocoDataset(
            data_root=f"{budget.root}/",
            ann_file=f"annotations/instances_{split}.json",
            data_prefix=dict(img=f"{split}/"),
            metainfo=dict(classes=budget.classes, palette=None),
            test_mode=not training,
            filter_cfg=dict(filter_empty_gt=True, min_size=32) if training else None,
        )
        expected = {}
        for info in (theirs.get_data_info(index) for index in range(len(theirs))):
            boxes = [(i["bbox"], i["bbox_label"], i["ignore_flag"]) for i in info["instances"]]
            if training:
                boxes = [
                    (b, n, int(f or min(b[2] - b[0], b[3] - b[1]) < smallest)) for b, n, f in boxes
                ]
            expected[info["img_path"]] = (info["width"], info["height"], boxes)
        found = by_us(data, benchmark, split, training=training)
        assert {
            info["img_path"]: (
                info["width"],
                info["height"],
                [(i["bbox"], i["bbox_label"], i["ignore_flag"]) for i in info["instances"]],
            )
            for info in found
        } == expected
    assert any(flag for *_, boxes in expected.values() for *_, flag in boxes), "crowds"


@pytest.mark.real_data
def test_boxes_of_real_data_are_mmdetections(
    data: Any, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRICKLE_REAL_DATA", str(real_data))
    file = Path(__file__).resolve().parents[2] / "benchmarks/examples/real_photographs.toml"
    benchmark = load_benchmark(file)
    for split, count in (("VOC2007/trainval", 292), ("VOC2007/test", 72)):
        found = by_us(data, benchmark, split, training=count == 292)
        assert found == by_mmdet(benchmark, split, training=count == 292)
        assert len(found) == count


def one_image(benchmark: Benchmark) -> Path:
    assert benchmark.detection is not None
    return benchmark.detection.root / "VOC2007/JPEGImages/test0.jpg"


def first_test_sample(data: Any, benchmark: Benchmark) -> Any:
    return data.test_data(benchmark.detection, interpolation="bilinear").dataset[0]


@pytest.mark.reliability(6, "The detector sees a rotated photograph as shown, under its boxes")
def test_boxes_and_pixels_agree_on_a_rotated_photograph(
    data: Any, make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = load_benchmark(make_benchmark(tmp_path, detection={"image_size": [64, 60]}))
    file = one_image(benchmark)
    upright = first_test_sample(data, benchmark)["inputs"].numpy()
    with Image.open(file) as image:
        pixels = np.asarray(image)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: stored turned the other way
    Image.fromarray(cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)).save(
        file, format="PNG", exif=exif
    )
    turned = first_test_sample(data, benchmark)
    assert np.array_equal(turned["inputs"].numpy(), pixels[:, :, ::-1].transpose(2, 0, 1))
    assert np.abs(turned["inputs"].numpy().astype(int) - upright).max() <= 4  # PNG against JPEG


def test_a_file_that_went_bad_is_named(
    data: Any, make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = load_benchmark(make_benchmark(tmp_path, detection={"workers": 1}))
    file = one_image(benchmark)
    file.write_bytes(file.read_bytes()[:-40])
    loader = data.test_data(benchmark.detection, interpolation="bilinear")
    with pytest.raises(
        DataError, match=f"^{file} is truncated[^\n]*$"
    ):  # from the worker, one line
        next(iter(loader))


def test_what_is_left_out_is_not_read(
    data: Any, make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = load_benchmark(make_benchmark(tmp_path))
    assert benchmark.detection is not None
    (tmp_path / "VOCdevkit/VOC2007/Annotations/test3.xml").write_text("")
    budget = benchmark.detection.leaving_out(["VOC2007/JPEGImages/test3.jpg"])
    left = benchmark.model_copy(update={"detection": budget})
    ids = [info["img_id"] for info in by_us(data, left, "VOC2007/test", training=False)]
    assert ids == ["test0", "test1", "test2", "test4"]
