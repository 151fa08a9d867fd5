"""Pixels by pairs of labels, counted once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

_LABELS = 256  # of a mask of bytes
Areas = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Pairs = npt.NDArray[np.int64]


def label_pairs(predicted: torch.Tensor, labeled: torch.Tensor, ignored: int) -> Pairs:
    """(256, 256): pixels by their label (rows) and their prediction.

    predicted, labeled: integers 0..255 of one shape, on one device; pixels labeled `ignored` do
    not count.
    """
    pairs = torch.add(predicted.flatten().long(), labeled.flatten(), alpha=_LABELS)
    counted = torch.bincount(pairs, minlength=_LABELS**2).cpu()
    counts: Pairs = counted.numpy().reshape(_LABELS, _LABELS)  # numpy waits for no second thread
    counts[ignored] = 0
    return counts


def class_areas(pairs: Pairs, num_classes: int) -> Areas:
    """Pixels of each class in the intersection, the union, the prediction and the label.

    Returns four float32 (num_classes,) on the CPU, MMSegmentation's `IoUMetric.intersect_and_union`
    bit for bit (a count is exact up to 16.7 million pixels).
    """
    intersect, predictions, labels = (
        torch.from_numpy(areas[:num_classes].astype(np.float32))
        for areas in (pairs.diagonal(), pairs.sum(0), pairs.sum(1))
    )
    return intersect, predictions + labels - intersect, predictions, labels
