"""mIoU, aAcc and mAcc by MMSegmentation's own counts, unrounded and with every class."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmseg.evaluation import IoUMetric


class SegmentationMetric(IoUMetric):
    """IoUMetric that gives percent without rounding; None where a class has no pixel at all."""

    default_prefix = ""

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        intersect, union, predicted, labeled = (sum(part) for part in zip(*results, strict=True))
        counts = self.total_area_to_metrics(intersect, union, predicted, labeled, ["mIoU"])
        return {
            "mIoU": _percent(np.nanmean(counts["IoU"])),
            "aAcc": _percent(counts["aAcc"]),
            "mAcc": _percent(np.nanmean(counts["Acc"])),
            "per_class": [_percent(value) for value in counts["IoU"]],
            "n": len(results),
        }


def _percent(share: Any) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
