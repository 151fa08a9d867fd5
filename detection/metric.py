"""Three average precisions from the same detections: VOC07 11-point, VOC area, COCO-style."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional import average_precision, eval_map
from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

VOC_MODES = {"voc07_11point": "11points", "area": "area"}


def voc_average_precisions(
    detections: list[list[np.ndarray]], annotations: list[dict[str, np.ndarray]]
) -> dict[str, list[float | None]]:
    """AP in percent at IoU 0.5 for each class, 11-point and area; None for a class without objects.

    detections: per image, per class: (n, 5) x1, y1, x2, y2, score. annotations: per image
    `bboxes` (m, 4), `labels` (m,), `bboxes_ignore`, `labels_ignore`. Corners are inclusive.
    Matching is MMDetection's, after the VOC devkit: a difficult object neither counts nor harms.
    """
    _, per_class = eval_map(
        detections, annotations, iou_thr=0.5, nproc=1, logger="silent", use_legacy_coordinate=True
    )
    result: dict[str, list[float | None]] = {}
    for name, mode in VOC_MODES.items():
        result[name] = [
            100 * float(average_precision(item["recall"], item["precision"], mode))
            if item["num_gts"]
            else None
            for item in per_class
        ]
    return result


def coco_average_precisions(
    detections: list[list[np.ndarray]],
    annotations: list[dict[str, np.ndarray]],
    sizes: list[tuple[int, int]],
) -> dict[str, float | None]:
    """AP (IoU 0.50:0.95), AP50 and AP75 in percent by pycocotools; difficult objects as crowd.

    sizes: (height, width) per image.
    """
    classes = len(detections[0])
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for i, (found, truth, (height, width)) in enumerate(
        zip(detections, annotations, sizes, strict=True)
    ):
        images.append({"id": i, "height": height, "width": width})
        for crowd, suffix in ((0, ""), (1, "_ignore")):
            boxes, labels = truth[f"bboxes{suffix}"], truth[f"labels{suffix}"]
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": i,
                        "category_id": label,
                        "bbox": [x, y, w, h],
                        "area": w * h,
                        "iscrowd": crowd,
                    }
                )
        for label, boxes in enumerate(found):
            for x1, y1, x2, y2, score in boxes.tolist():
                box = [x1, y1, x2 - x1, y2 - y1]
                results.append({"image_id": i, "category_id": label, "bbox": box, "score": score})
    if not results:  # which pycocotools cannot load
        value = 0.0 if any(not item["iscrowd"] for item in objects) else None
        return dict.fromkeys(("AP", "AP50", "AP75"), value)
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = {
            "images": images,
            "annotations": objects,
            "categories": [{"id": c, "name": str(c)} for c in range(classes)],
        }
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: 100 * float(value) if value >= 0 else None
        for name, value in zip(("AP", "AP50", "AP75"), evaluation.stats[:3], strict=True)
    }


class DetectionMetric(BaseMetric):
    """Collects detections and truth of the test images in original coordinates; see `compute`."""

    default_prefix = ""

    def __init__(self, metric: str, num_classes: int) -> None:
        super().__init__()
        self.metric, self.num_classes = metric, num_classes

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            truth, ignored = sample["gt_instances"], sample["ignored_instances"]
            found = sample["pred_instances"]
            boxes = np.concatenate(
                [found["bboxes"].cpu().numpy(), found["scores"].cpu().numpy()[:, None]], axis=1
            )
            labels = found["labels"].cpu().numpy()
            annotation = {
                "bboxes": truth["bboxes"].cpu().numpy().reshape(-1, 4),
                "labels": truth["labels"].cpu().numpy(),
                "bboxes_ignore": ignored["bboxes"].cpu().numpy().reshape(-1, 4),
                "labels_ignore": ignored["labels"].cpu().numpy(),
            }
            detections = [boxes[labels == c] for c in range(self.num_classes)]
            self.results.append((detections, annotation, sample["ori_shape"]))

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        detections, annotations, sizes = (list(part) for part in zip(*results, strict=True))
        voc = voc_average_precisions(detections, annotations)
        means = {name: _mean(values) for name, values in voc.items()}
        return {
            "mAP": means[self.metric],
            "mAP_voc07": means["voc07_11point"],
            "mAP_area": means["area"],
            **coco_average_precisions(detections, annotations, sizes),
            "per_class": voc[self.metric],
            "n": len(results),
        }


def _mean(values: list[float | None]) -> float | None:
    """Over the classes that have objects."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
