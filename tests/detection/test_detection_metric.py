"""Average precision by hand, by a slow reading of the VOC devkit, and by pycocotools on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.mmcv_ops import install

install()
from detection import coco_average_precision, voc_average_precision  # noqa: E402
from detection.metric import DetectionMetric  # noqa: E402
from detection.scored_image import ScoredImage  # noqa: E402

A, B = (10, 10, 49, 49), (60, 60, 99, 99)
FAR = (200, 200, 219, 219)


def truth(
    boxes: list[Any], labels: list[int] | None = None, *, difficult: list[Any] | None = None
) -> dict[str, np.ndarray]:
    """The annotation of one image; difficult boxes are of class 0."""
    ignored = np.array(difficult or [], float).reshape(-1, 4)
    return {
        "bboxes": np.array(boxes, float).reshape(-1, 4),
        "labels": np.array(labels if labels is not None else [0] * len(boxes), int),
        "bboxes_ignore": ignored,
        "labels_ignore": np.zeros(len(ignored), int),
    }


def found(*boxes: tuple[tuple[float, ...], float]) -> np.ndarray:
    """Boxes of one class with their scores."""
    return np.array([(*box, score) for box, score in boxes], float).reshape(-1, 5)


def scored(detections: Any, annotations: Any, sizes: Any = None) -> list[ScoredImage]:
    """From detections (n, 5) by image and class, and the annotation of each image."""
    images = []
    for i, (by_class, truths) in enumerate(zip(detections, annotations, strict=True)):
        rows = np.concatenate(by_class)
        counts = [len(truths["labels"]), len(truths["labels_ignore"])]
        images.append(
            ScoredImage(
                boxes=rows[:, :4],
                scores=rows[:, 4],
                labels=np.repeat(np.arange(len(by_class)), [len(boxes) for boxes in by_class]),
                truth=np.concatenate([truths["bboxes"], truths["bboxes_ignore"]]),
                truth_labels=np.concatenate([truths["labels"], truths["labels_ignore"]]),
                difficult=np.repeat([False, True], counts),
                size=sizes[i] if sizes else (300, 300),
            )
        )
    return images


def voc_average_precisions(detections: Any, annotations: Any) -> dict[str, list[float | None]]:
    images = scored(detections, annotations)
    return voc_average_precision.voc_average_precisions(images, len(detections[0]))


def coco_average_precisions(
    detections: Any, annotations: Any, sizes: Any
) -> dict[str, float | None]:
    images = scored(detections, annotations, sizes)
    return coco_average_precision.coco_average_precisions(images, len(detections[0]))


@pytest.fixture(autouse=True, params=["fast", "plain"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds with the faster ways and without."""
    if request.param == "plain":
        monkeypatch.setenv("TRICKLE_REFERENCE", "voc_ap,coco_ap")


@pytest.mark.parametrize(
    ("detections", "annotation", "eleven_points", "area"),
    [
        pytest.param(found((A, 0.9)), truth([A]), 100, 100, id="one perfect box"),
        # Recall 1/2 at precision 1: 6 of 11 recall levels, half of the area.
        pytest.param(found((A, 0.9)), truth([A, B]), 600 / 11, 50, id="one of two"),
        pytest.param(found((FAR, 0.9)), truth([A]), 0, 0, id="a miss"),
        pytest.param(found(), truth([A]), 0, 0, id="nothing found"),
        # Precision 1/2 when the object is found.
        pytest.param(found((FAR, 0.9), (A, 0.8)), truth([A]), 50, 50, id="a false one first"),
        pytest.param(found((A, 0.9), (A, 0.8)), truth([A]), 100, 100, id="a duplicate at the end"),
        # Hits at ranks 1 and 3: precision 1 up to recall 1/2, then 2/3.
        pytest.param(
            found((A, 0.9), (A, 0.8), (B, 0.7)),
            truth([A, B]),
            100 * (6 + 5 * 2 / 3) / 11,
            100 * (1 / 2 + 1 / 2 * 2 / 3),
            id="a duplicate between two hits",
        ),
        pytest.param(
            found((B, 0.9), (A, 0.8)), truth([A], difficult=[B]), 100, 100, id="difficult found"
        ),
        pytest.param(
            found((A, 0.9)), truth([A], difficult=[B]), 100, 100, id="difficult not found"
        ),
        pytest.param(
            found((B, 0.9), (B, 0.85), (A, 0.8)),
            truth([A], difficult=[B]),
            100,
            100,
            id="difficult found twice",
        ),
        # Corners lie inside: 10 columns against 5 of them are IoU 1/2 exactly, which is enough.
        pytest.param(
            found(((0, 0, 4, 9), 0.9)), truth([(0, 0, 9, 9)]), 100, 100, id="half is enough"
        ),
        pytest.param(
            found(((0, 0, 3.9, 9), 0.9)), truth([(0, 0, 9, 9)]), 0, 0, id="less than half is not"
        ),
    ],
)
def test_voc_by_hand(
    detections: np.ndarray, annotation: dict[str, np.ndarray], eleven_points: float, area: float
) -> None:
    precisions = voc_average_precisions([[detections]], [annotation])
    assert precisions["voc07_11point"] == [pytest.approx(eleven_points, abs=1e-4)]
    assert precisions["area"] == [pytest.approx(area, abs=1e-4)]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of boxes whose corners are inside."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def slow_area_precision(detections: Any, annotations: Any, label: int) -> float | None:
    """After VOCevaldet.m of the VOC2012 devkit, one detection at a time."""
    objects = []
    for truths in annotations:
        boxes = [(box, False) for box in truths["bboxes"][truths["labels"] == label]]
        boxes += [(box, True) for box in truths["bboxes_ignore"][truths["labels_ignore"] == label]]
        objects.append([{"box": box, "difficult": d, "found": False} for box, d in boxes])
    positives = sum(not item["difficult"] for image in objects for item in image)
    if not positives:
        return None
    ranked = sorted(
        ((box[4], i, box[:4]) for i, image in enumerate(detections) for box in image[label]),
        key=lambda item: -item[0],
    )
    hits, points = 0, []
    misses = 0
    for _, image, box in ranked:
        best = max(objects[image], key=lambda item: iou(box, item["box"]), default=None)
        if best is None or iou(box, best["box"]) < 0.5:
            misses += 1
        elif best["difficult"]:
            continue
        elif best["found"]:
            misses += 1
        else:
            best["found"] = True
            hits += 1
        points.append((hits / positives, hits / (hits + misses)))
    area, previous = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        area += (recall - previous) * max(precision for _, precision in points[i:])
        previous = recall
    return 100 * area


def random_case(seed: int, *, images: int = 6, classes: int = 3) -> tuple[Any, Any]:
    """Detections that are near objects, twice on one, or nowhere; no two scores are equal."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(10_000) / 10_000)

    def boxes(count: int) -> np.ndarray:
        corner, size = rng.uniform(0, 150, (count, 2)), rng.uniform(10, 60, (count, 2))
        return np.concatenate([corner, corner + size], axis=1).round(1)

    detections, annotations = [], []
    for _ in range(images):
        objects, ignored = boxes(rng.integers(0, 7)), boxes(rng.integers(0, 3))
        labels = rng.integers(0, classes, len(objects))
        ignored_labels = rng.integers(0, classes, len(ignored))
        annotations.append(
            {"bboxes": objects, "labels": labels}
            | {"bboxes_ignore": ignored, "labels_ignore": ignored_labels}
        )
        image = []
        for label in range(classes):
            near = [*objects[labels == label], *ignored[ignored_labels == label]]
            near = [box + rng.normal(0, 4, 4) for box in near for _ in range(rng.integers(0, 3))]
            some = np.array([*near, *boxes(rng.integers(0, 3))]).reshape(-1, 4)
            ranks = np.array([next(scores) for _ in some]).reshape(-1, 1)
            image.append(np.concatenate([some, ranks], axis=1))
        detections.append(image)
    return detections, annotations


@pytest.mark.parametrize("seed", range(8))
def test_voc_area_against_a_slow_reference(seed: int) -> None:
    detections, annotations = random_case(seed)
    ours = voc_average_precisions(detections, annotations)["area"]
    expected = [slow_area_precision(detections, annotations, label) for label in range(3)]
    assert ours == [pytest.approx(value, abs=1e-3) for value in expected]
    assert any(0 < value < 100 for value in expected if value is not None)


def pycocotools_on_files(detections: Any, annotations: Any, folder: Path) -> list[float]:
    """AP, AP50, AP75 in percent as COCO's own scripts reach them: from two JSON files."""
    objects, results = [], []
    for image, truths in enumerate(annotations):
        for suffix, crowd in (("", 0), ("_ignore", 1)):
            for (x1, y1, x2, y2), label in zip(
                truths[f"bboxes{suffix}"], truths[f"labels{suffix}"], strict=True
            ):
                box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                place = {"image_id": image + 100, "category_id": int(label) + 1}
                objects.append({"id": len(objects) + 1, "iscrowd": crowd, **box, **place})
        for label, boxes in enumerate(detections[image]):
            for x1, y1, x2, y2, score in boxes.tolist():
                place = {"image_id": image + 100, "category_id": label + 1}
                results.append({"bbox": [x1, y1, x2 - x1, y2 - y1], "score": score, **place})
    images = [{"id": i + 100, "width": 220, "height": 220} for i in range(len(annotations))]
    categories = [{"id": label + 1, "name": str(label)} for label in range(len(detections[0]))]
    truth_set = {"images": images, "annotations": objects, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(truth_set))
    (folder / "results.json").write_text(json.dumps(results))
    coco = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [100 * value for value in evaluation.stats[:3]]


@pytest.mark.parametrize("seed", range(4))
def test_coco_against_pycocotools_on_files(seed: int, tmp_path: Path) -> None:
    detections, annotations = random_case(seed)
    ours = coco_average_precisions(detections, annotations, [(220, 220)] * len(detections))
    expected = pycocotools_on_files(detections, annotations, tmp_path)
    assert list(ours.values()) == pytest.approx(expected)
    assert 0 < ours["AP"] < ours["AP50"]


def test_coco_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    # Width and height are x2 - x1 and y2 - y1: 62 of 100 columns are IoU 0.62, enough for three
    # of the ten thresholds 0.50, 0.55, ..., 0.95.
    ours = coco_average_precisions(
        [[found(((0, 0, 62, 50), 0.9))]], [truth([(0, 0, 100, 50)])], [(60, 120)]
    )
    assert ours == {"AP": pytest.approx(30), "AP50": pytest.approx(100), "AP75": pytest.approx(0)}
    assert capsys.readouterr().out == ""


def test_coco_without_detections_or_without_objects() -> None:
    sizes = [(220, 220)]
    none_found = coco_average_precisions([[found()]], [truth([A])], sizes)
    assert none_found == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    undefined = {"AP": None, "AP50": None, "AP75": None}
    for detections in (found(), found((A, 0.5))):
        assert (
            coco_average_precisions([[detections]], [truth([], difficult=[B])], sizes) == undefined
        )


def test_a_class_without_objects_has_no_precision_and_does_not_count() -> None:
    # Class 0 is half found, class 1 is not in the data, of class 2 all is found.
    detections = [[found((A, 0.9)), found((B, 0.9)), found((B, 0.9))]]
    annotations = [truth([A, FAR, B], [0, 0, 2])]
    precisions = voc_average_precisions(detections, annotations)
    assert precisions["area"] == [pytest.approx(50), None, pytest.approx(100)]
    assert precisions["voc07_11point"][1] is None
    coco = coco_average_precisions(detections, annotations, [(300, 300)])
    # 50 of 101 recall levels and the zeroth: 51 / 101 for class 0.
    assert coco["AP50"] == pytest.approx(100 * (51 / 101 + 1) / 2)


def sample(scores: list[float], labels: list[int]) -> dict[str, Any]:
    """What the detector hands to the metric: as many detections of box A as scores."""
    return {
        "img_path": "JPEGImages/0.jpg",
        "ori_shape": (220, 220),
        "gt_instances": {
            "bboxes": torch.tensor([A, B], dtype=torch.float), "labels": torch.tensor([0, 2])
        },
        "ignored_instances": {"bboxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()},
        "pred_instances": {
            "bboxes": torch.tensor([A] * len(scores), dtype=torch.float).reshape(-1, 4),
            "scores": torch.tensor(scores),
            "labels": torch.tensor(labels).long(),
        },
    }  # fmt: skip


@pytest.mark.parametrize(("chosen", "of_class_0"), [("voc07_11point", 600 / 11), ("area", 50)])
def test_the_metric_collects_images_and_means_over_classes(chosen: str, of_class_0: float) -> None:
    metric = DetectionMetric(chosen, num_classes=4)
    metric.process(None, [sample([0.9, 0.6], [0, 3])])
    metric.process(None, [sample([], [])])  # an image in which nothing was found
    measured = metric.evaluate(2)
    # Class 0: one of two found. Class 2: none. Classes 1 and 3 have no objects.
    assert measured["per_class"] == [pytest.approx(of_class_0), None, pytest.approx(0), None]
    assert measured["mAP"] == pytest.approx(of_class_0 / 2)
    assert measured["mAP_voc07"] == pytest.approx(300 / 11)
    assert measured["mAP_area"] == pytest.approx(25)
    assert measured["AP50"] == pytest.approx(100 * 51 / 101 / 2)
    assert measured["n"] == 2
