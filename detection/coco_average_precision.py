"""COCO's average precision by hotcoco, whose twelve figures are pycocotools' bit for bit.

pycocotools itself is the plain way (`coco_ap` of engine/fast_paths.py).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from detection.scored_image import ScoredImage, Stacked, stack
from engine.fast_paths import is_fast


def coco_average_precisions(
    images: Sequence[ScoredImage], num_classes: int
) -> dict[str, float | None]:
    """AP (IoU 0.50:0.95), AP50 and AP75 in percent; difficult objects as crowd; None where no
    object counts. Width is x2 - x1."""
    figures = coco_evaluation(images, num_classes).stats[:3]
    return {
        name: 100 * float(value) if value >= 0 else None
        for name, value in zip(("AP", "AP50", "AP75"), figures, strict=True)
    }


def coco_class_precisions(images: Sequence[ScoredImage], num_classes: int) -> list[float | None]:
    """AP (IoU 0.50:0.95) of each class in percent; None without objects that count."""
    # IoUs, recalls, classes, areas, detections at most: of all areas, with most detections.
    found = np.asarray(coco_evaluation(images, num_classes).eval["precision"])[:, :, :, 0, -1]
    of_classes = [found[:, :, label] for label in range(num_classes)]
    return [100 * float(of.mean()) if (of > -1).all() else None for of in of_classes]


def coco_statistics(images: Sequence[ScoredImage], num_classes: int) -> np.ndarray:
    """COCO's twelve figures, as shares; -1 for what nothing in the data speaks of."""
    return np.asarray(coco_evaluation(images, num_classes).stats[:12])


def coco_evaluation(images: Sequence[ScoredImage], num_classes: int) -> Any:
    """The library's `COCOeval`, accumulated and summarized."""
    sizes = [
        {"id": i, "height": image.size[0], "width": image.size[1]} for i, image in enumerate(images)
    ]
    categories = [{"id": label, "name": str(label)} for label in range(num_classes)]
    rows = stack(images)
    count = _by_hotcoco if is_fast("coco_ap") else _by_pycocotools
    with contextlib.redirect_stdout(io.StringIO()):  # both print a table
        return count(rows, sizes, categories)


def _by_hotcoco(
    rows: Stacked, sizes: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> Any:
    from hotcoco import COCO, COCOeval

    boxes = _corner_and_sides(rows.truth)
    truth = COCO.from_arrays(
        sizes,
        categories,
        rows.truth_image,
        rows.truth_labels,
        boxes,
        area=boxes[:, 2] * boxes[:, 3],
        iscrowd=rows.difficult.astype(np.int64),
    )
    found = np.column_stack([rows.image, _corner_and_sides(rows.boxes), rows.scores, rows.labels])
    return _evaluated(COCOeval(truth, truth.load_res(found), "bbox"))


def _by_pycocotools(
    rows: Stacked, sizes: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects = [
        {
            "id": number,
            "image_id": image,
            "category_id": label,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": crowd,
        }
        for number, image, label, box, crowd in zip(
            range(1, len(rows.truth) + 1),  # an object 0 would never be matched
            rows.truth_image.tolist(),
            rows.truth_labels.tolist(),
            _corner_and_sides(rows.truth).tolist(),
            rows.difficult.astype(int).tolist(),
            strict=True,
        )
    ]
    truth = COCO()
    truth.dataset = {"images": sizes, "annotations": objects, "categories": categories}
    truth.createIndex()
    found = np.column_stack([rows.image, _corner_and_sides(rows.boxes), rows.scores, rows.labels])
    if not len(found):  # which pycocotools cannot load: one detection, of a class that is not there
        found = np.array([[0, 0, 0, 0, 0, 0, -1]])
    return _evaluated(COCOeval(truth, truth.loadRes(found), "bbox"))


def _evaluated(evaluation: Any) -> Any:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _corner_and_sides(corners: np.ndarray) -> np.ndarray:
    """(n, 4) x1, y1, x2, y2 to x, y, width, height, in float64."""
    boxes = corners.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
