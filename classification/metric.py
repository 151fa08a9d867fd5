"""What a classifier answered on each validation image, and the metrics that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from classification.calibration import (
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from classification.evidence import Answers


class AnswerMetric(BaseMetric):  # type: ignore[misc]
    """Share of validation images whose label is among the k highest logits, in percent, and how
    far the softmax can be believed: `ece` in percent, `nll` in nats.

    top-k is 100 where there are no more than k classes. answers: of the last evaluation, in the
    order of the data set; None before it, and in all processes but the first.
    """

    default_prefix = ""

    def __init__(self, num_classes: int, *, ks: Sequence[int] = (1, 5)) -> None:
        super().__init__()
        self.num_classes, self.ks = num_classes, tuple(ks)
        self.answers: Answers | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        logits = torch.stack([sample["logits"] for sample in data_samples])
        labels = torch.stack([sample["label"].reshape(()) for sample in data_samples])
        order = logits.argsort(dim=1, descending=True, stable=True)
        ranks = (order == labels[:, None]).int().argmax(dim=1)
        probabilities = logits.softmax(dim=1)
        predictions = order[:, 0]
        # One entry for each image, for that is how they come together from several processes; the
        # logits of ImageNet's would be 200 MB.
        self.results += zip(
            labels.tolist(),
            predictions.tolist(),
            probabilities.gather(1, predictions[:, None])[:, 0].tolist(),
            probabilities.gather(1, labels[:, None])[:, 0].tolist(),
            ranks.tolist(),
            strict=True,
        )

    def compute_metrics(self, results: list[tuple[int, int, float, float, int]]) -> dict[str, Any]:
        labels, predictions, confidences, label_confidences, ranks = zip(*results, strict=True)
        answers = Answers(
            label=np.array(labels, np.int32),
            prediction=np.array(predictions, np.int32),
            confidence=np.array(confidences, np.float32),
            label_confidence=np.array(label_confidences, np.float32),
            label_rank=np.array(ranks, np.int32),
        )
        self.answers = answers
        right, label = answers.right, answers.label
        metrics: dict[str, Any] = {
            f"top{k}": 100 * float(np.mean(answers.label_rank < k)) for k in self.ks
        }
        metrics["top1_per_class"] = [
            100 * float(right[label == c].mean()) if (label == c).any() else None
            for c in range(self.num_classes)
        ]
        metrics["ece"] = expected_calibration_error(reliability(answers.confidence, right))
        metrics["nll"] = negative_log_likelihood(answers.label_confidence)
        metrics["n"] = len(label)
        return metrics
