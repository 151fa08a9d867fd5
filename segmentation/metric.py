"""mIoU, aAcc and mAcc by MMSegmentation's own counts, unrounded and with every class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric

from engine.fast_paths import is_fast
from segmentation.confusion import Areas, class_areas


class SegmentationMetric(IoUMetric):
    """IoUMetric that gives percent without rounding; None where a class has no pixel at all."""

    default_prefix = ""

    @staticmethod
    def intersect_and_union(
        pred_label: torch.Tensor, label: torch.Tensor, num_classes: int, ignore_index: int
    ) -> Areas:
        """Of one image; what `process` collects."""
        count = class_areas if is_fast("confusion") else IoUMetric.intersect_and_union
        areas: Areas = count(pred_label, label, num_classes, ignore_index)
        return areas

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        intersect, union, predicted, labeled = (sum(part) for part in zip(*results, strict=True))
        counts = self.total_area_to_metrics(intersect, union, predicted, labeled, ["mIoU"])
        return {
            "mIoU": _percent(_mean(counts["IoU"])),
            "aAcc": _percent(counts["aAcc"]),
            "mAcc": _percent(_mean(counts["Acc"])),
            "per_class": [_percent(value) for value in counts["IoU"]],
            "n": len(results),
        }


def _mean(shares: np.ndarray) -> float:
    """Over the classes that have pixels; NaN where none has any."""
    present = shares[~np.isnan(shares)]
    return float(present.mean()) if present.size else math.nan


def _percent(share: Any) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
