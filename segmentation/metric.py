"""mIoU, aAcc and mAcc by MMSegmentation's own counts, unrounded and with every class."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric

from benchmarks.sample_pictures import small_mask
from engine.fast_paths import is_fast
from segmentation.boundary import boundary_counts
from segmentation.confusion import Areas, class_areas, label_pairs
from segmentation.evidence import ImageCounts, class_shares, mean_present


class SegmentationMetric(IoUMetric):
    """IoUMetric that gives percent without rounding; None where a class has no pixel at all.

    samples: `img_path` of the images whose masks are kept; None: nothing is counted but what mIoU,
    aAcc and mAcc need. tested: the images of the last test, in their order, in the first process.
    """

    default_prefix = ""

    def __init__(self, *, samples: Collection[str] | None = None) -> None:
        super().__init__()
        self.samples = samples
        self.tested: list[ImageCounts] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            predicted = sample["pred_sem_seg"]["data"].squeeze(0)
            label = sample["gt_sem_seg"]["data"].squeeze(0).to(predicted)
            self.results.append(self._counted(sample, predicted, label))

    def _counted(
        self, sample: dict[str, Any], predicted: torch.Tensor, label: torch.Tensor
    ) -> tuple[Areas, ImageCounts | None]:
        classes, ignored = len(self.dataset_meta["classes"]), self.ignore_index
        fast, kept = is_fast("confusion"), self.samples is not None
        pairs = label_pairs(predicted, label, ignored) if fast or kept else None
        areas = (
            class_areas(pairs, classes)
            if fast and pairs is not None
            else self.intersect_and_union(predicted, label, classes, ignored)
        )
        if pairs is None or self.samples is None:
            return areas, None
        ours, truth = (mask.to(torch.uint8).cpu().numpy() for mask in (predicted, label))
        flat = pairs[:classes, :classes].ravel()
        present = np.flatnonzero(flat)
        path = sample["img_path"]
        counts = ImageCounts(
            path=path,
            counts=np.concatenate(
                [
                    [pairs.diagonal()[:classes], pairs.sum(0)[:classes], pairs.sum(1)[:classes]],
                    boundary_counts(ours, truth, classes),
                ]
            ),
            pairs=(present, flat[present]),
            masks=(small_mask(ours), small_mask(truth)) if path in self.samples else None,
        )
        return areas, counts

    def compute_metrics(self, results: list[tuple[Areas, ImageCounts | None]]) -> dict[str, Any]:
        areas = [part for part, _ in results]
        intersect, union, predicted, labeled = (sum(part) for part in zip(*areas, strict=True))
        counts = self.total_area_to_metrics(intersect, union, predicted, labeled, ["mIoU"])
        found = {
            "mIoU": _percent(_mean(counts["IoU"])),
            "aAcc": _percent(counts["aAcc"]),
            "mAcc": _percent(_mean(counts["Acc"])),
            "per_class": [_percent(value) for value in counts["IoU"]],
            "n": len(results),
        }
        self.tested = [image for _, image in results if image is not None]
        if self.tested:
            boundary = np.stack([image.counts[3:] for image in self.tested], axis=1)
            found["boundary_mIoU"] = mean_present(class_shares(*boundary))
        return found


def _mean(shares: np.ndarray) -> float:
    """Over the classes that have pixels; NaN where none has any."""
    present = shares[~np.isnan(shares)]
    return float(present.mean()) if present.size else math.nan


def _percent(share: Any) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
