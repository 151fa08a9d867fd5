"""Pixels by pairs of labels, counted once."""

from __future__ import annotations

import numpy as np
import torch

_LABELS = 256  # of a mask of bytes
Areas = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def class_areas(
    predicted: torch.Tensor, labeled: torch.Tensor, num_classes: int, ignored: int
) -> Areas:
    """Pixels of each class in the intersection, the union, the prediction and the label.

    predicted, labeled: integers 0..255 of one shape, on one device; pixels labeled `ignored` do
    not count. Returns four float32 (num_classes,) on the CPU, MMSegmentation's
    `IoUMetric.intersect_and_union` bit for bit (a count is exact up to 16.7 million pixels).
    """
    pairs = torch.add(predicted.flatten().long(), labeled.flatten(), alpha=_LABELS)
    counted = torch.bincount(pairs, minlength=_LABELS**2).cpu()
    counts = counted.numpy().reshape(_LABELS, _LABELS)  # numpy waits for no second thread
    counts[ignored] = 0
    intersect, predictions, labels = (
        torch.from_numpy(areas[:num_classes].astype(np.float32))
        for areas in (counts.diagonal(), counts.sum(0), counts.sum(1))
    )
    return intersect, predictions + labels - intersect, predictions, labels
