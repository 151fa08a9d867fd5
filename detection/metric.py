"""Three average precisions from the same detections: VOC07 11-point, VOC area, COCO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from detection.coco_average_precision import coco_average_precisions, coco_class_precisions
from detection.evidence import TestedImage
from detection.scored_image import ScoredImage
from detection.voc_average_precision import voc_average_precisions


class DetectionMetric(BaseMetric):
    """Collects detections and truth of the test images in original coordinates; see `compute`.

    tested: the images of the last test, in their order, in the first process.
    """

    default_prefix = ""

    def __init__(self, metric: str, num_classes: int) -> None:
        super().__init__()
        self.metric, self.num_classes = metric, num_classes
        self.tested: list[TestedImage] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            found = sample["pred_instances"]
            parts = [
                (part["bboxes"].cpu().numpy().reshape(-1, 4), part["labels"].cpu().numpy())
                for part in (sample["gt_instances"], sample["ignored_instances"])
            ]
            scored = ScoredImage(
                boxes=found["bboxes"].cpu().numpy(),
                scores=found["scores"].cpu().numpy(),
                labels=found["labels"].cpu().numpy(),
                truth=np.concatenate([boxes for boxes, _ in parts]),
                truth_labels=np.concatenate([labels for _, labels in parts]),
                difficult=np.repeat([False, True], [len(labels) for _, labels in parts]),
                size=sample["ori_shape"],
            )
            self.results.append(TestedImage(path=sample["img_path"], scored=scored))

    def compute_metrics(self, results: list[TestedImage]) -> dict[str, Any]:
        self.tested = list(results)  # the collected ones, which the caller forgets
        images = [tested.scored for tested in results]
        voc = voc_average_precisions(images, self.num_classes)
        means = {name: _mean(values) for name, values in voc.items()}
        coco = coco_average_precisions(images, self.num_classes)
        is_coco = self.metric == "coco"
        return {
            "mAP": coco["AP"] if is_coco else means[self.metric],
            "mAP_voc07": means["voc07_11point"],
            "mAP_area": means["area"],
            **coco,
            "per_class": coco_class_precisions(images, self.num_classes)
            if is_coco
            else voc[self.metric],
            "n": len(results),
        }


def _mean(values: list[float | None]) -> float | None:
    """Over the classes that have objects."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
