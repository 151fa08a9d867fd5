"""Counting pairs of labels once gives MMSegmentation's areas and scores bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from engine.finetuning import prepare_openmmlab

prepare_openmmlab()
from mmseg.evaluation import IoUMetric  # noqa: E402

from segmentation.confusion import class_areas, label_pairs  # noqa: E402
from segmentation.metric import SegmentationMetric  # noqa: E402


def masks(seed: int, classes: int, label_type: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and label; some pixels ignored, and some labeled beyond the classes."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, min(classes + 2, 255), (23, 31))
    predicted = np.where(
        rng.random(label.shape) < 0.5, label, rng.integers(0, classes, label.shape)
    )
    label[rng.random(label.shape) < 0.2] = 255
    return torch.from_numpy(predicted % classes), torch.from_numpy(label).to(label_type)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([2, 19, 150, 255]),  # of one class histc counts strange labels too
    st.sampled_from([torch.uint8, torch.int64]),
)
def test_areas_are_mmsegmentations(seed: int, classes: int, label_type: torch.dtype) -> None:
    predicted, label = masks(seed, classes, label_type)
    found = class_areas(label_pairs(predicted, label, 255), classes)
    expected = IoUMetric.intersect_and_union(predicted, label.to(predicted), classes, 255)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist()


def test_areas_are_scikit_learns() -> None:
    predicted, label = masks(0, 5, torch.uint8)
    label[(label > 4) & (label < 255)] = 3
    counts = label != 255
    matrix = confusion_matrix(label[counts], predicted[counts], labels=range(5))
    hits, predictions, labels = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
    expected = [hits, predictions + labels - hits, predictions, labels]
    found = class_areas(label_pairs(predicted, label, 255), 5)
    assert [areas.tolist() for areas in found] == [areas.tolist() for areas in expected]


def test_both_ways_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure() -> Any:
        metric = SegmentationMetric()
        metric.dataset_meta = {"classes": tuple("abcdefg")}
        for seed in range(4):
            predicted, label = masks(seed, 7, torch.uint8)
            sample = {
                "gt_sem_seg": {"data": label[None]},
                "pred_sem_seg": {"data": predicted[None]},
            }
            metric.process({}, [sample])
        return metric.evaluate(4)

    fast = measure()
    monkeypatch.setenv("TRICKLE_REFERENCE", "confusion")
    monkeypatch.setattr("segmentation.metric.class_areas", None)  # is not called
    assert measure() == fast
    assert 0 < fast["mIoU"] < 100
