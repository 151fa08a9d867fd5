"""PCK: how many of the labelled keypoints are found, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from benchmarks.sample_pictures import names_below
from benchmarks.schema import KeypointBudget
from detection.keypoints.protocol import CLOSE, MARGIN
from engine.evidence import Evidence


class KeypointMetric(BaseMetric):
    """tested: predicted (n, K, 2) and points (n, K, 3) of the last test, in sides of the crop."""

    default_prefix = ""
    tested: tuple[np.ndarray, np.ndarray]

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            self.results.append([sample[name].cpu().numpy() for name in ("predicted", "points")])

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        predicted, points = (np.stack(arrays) for arrays in zip(*results, strict=True))
        self.tested = predicted, points
        labelled = points[..., 2] > 0
        off = MARGIN * np.linalg.norm(predicted - points[..., :2], axis=2)
        found = (off <= CLOSE) & labelled
        each = [
            100 * float(hits.sum() / seen.sum()) if seen.any() else None
            for hits, seen in zip(found.T, labelled.T, strict=True)
        ]
        whole = 100 * float(found.sum() / labelled.sum())
        return {"PCK": whole, "per_class": each, "n": len(points)}


def keypoint_evidence(
    metric: KeypointMetric, budget: KeypointBudget, images: list[str]
) -> Evidence:
    """images: the file of each person."""
    predicted, points = metric.tested
    return Evidence(
        task="keypoints",
        classes=budget.keypoints,
        images=names_below(budget.root, images),
        arrays={"predicted": predicted, "points": points},
    )
