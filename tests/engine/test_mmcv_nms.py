"""NMS, through mmcv's API, against a plain greedy loop in float32 after mmcv 2.1.0's C++."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.mmcv_ops import install

if install() == "mmcv":
    pytest.skip("a compiled mmcv is installed: no stand-in to test", allow_module_level=True)
from mmcv.ops import batched_nms, nms

F32 = np.float32


def iou(a: np.ndarray, b: np.ndarray, offset: int) -> np.float32:
    """IoU in float32, operation by operation as mmcv's csrc/pytorch/cpu/nms.cpp has it."""
    one, zero = F32(offset), F32(0)
    width = max(zero, min(a[2], b[2]) - max(a[0], b[0]) + one)
    height = max(zero, min(a[3], b[3]) - max(a[1], b[1]) + one)
    areas = [(box[2] - box[0] + one) * (box[3] - box[1] + one) for box in (a, b)]
    return width * height / (areas[0] + areas[1] - width * height)


def reference_nms(boxes: Tensor, order: list[int], threshold: float, offset: int) -> list[int]:
    """Greedy suppression in the order given: a box stays unless one that stays overlaps it."""
    corners, limit = boxes.numpy().astype(F32), F32(threshold)
    kept: list[int] = []
    for candidate in order:
        if not any(iou(corners[k], corners[candidate], offset) > limit for k in kept):
            kept.append(candidate)
    return kept


def random_boxes(rng: np.random.Generator, n: int) -> Tensor:
    corner, size = rng.integers(0, 40, (n, 2)), rng.integers(1, 30, (n, 2))
    return torch.from_numpy(np.concatenate([corner, corner + size], axis=1) / 2).float()


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7])
def test_nms_equals_the_reference_without_ties(offset: int, threshold: float) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 15, 60):
        boxes = random_boxes(rng, n)
        scores = torch.from_numpy(rng.permutation(n) / n).float()
        order = sorted(range(n), key=lambda i: -float(scores[i]))
        dets, kept = nms(boxes, scores, threshold, offset=offset)
        assert kept.tolist() == reference_nms(boxes, order, threshold, offset)
        assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_breaks_ties_in_the_order_in_which_mmcv_sorts(offset: int) -> None:
    # nms_cpu walks scores.sort(0, descending=True), which is not stable; torchvision's is.
    rng = np.random.default_rng(1)
    differs_from_torchvision = 0
    for _ in range(15):
        boxes, scores = random_boxes(rng, 50), torch.from_numpy(rng.integers(0, 4, 50) / 4).float()
        order = scores.sort(dim=0, descending=True).indices.tolist()
        _, kept = nms(boxes, scores, 0.5, offset=offset)
        assert kept.tolist() == reference_nms(boxes, order, 0.5, offset)
        stable = scores.sort(dim=0, descending=True, stable=True).indices.tolist()
        differs_from_torchvision += kept.tolist() != reference_nms(boxes, stable, 0.5, offset)
    if scores.sort(dim=0, descending=True).indices.tolist() != stable:  # depends on the processor
        assert differs_from_torchvision > 8


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 30),
    seed=st.integers(0, 2**16),
    levels=st.integers(1, 5),
    threshold=st.sampled_from([0.1, 0.25, 0.5, 0.7, 1 / 3]),
    offset=st.sampled_from([0, 1]),
)
def test_nms_is_a_greedy_suppression(
    n: int, seed: int, levels: int, threshold: float, offset: int
) -> None:
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, n), torch.from_numpy(rng.integers(1, levels + 1, n)).float()
    _, indices = nms(boxes, scores, threshold, offset=offset)
    kept, limit = indices.tolist(), F32(threshold)
    corners, points = boxes.numpy(), scores.tolist()
    assert [points[k] for k in kept] == sorted((points[k] for k in kept), reverse=True)
    for i, k in enumerate(kept):
        assert all(iou(corners[j], corners[k], offset) <= limit for j in kept[:i])
    for dropped in set(range(n)) - set(kept):
        better = [k for k in kept if points[k] >= points[dropped]]
        assert any(iou(corners[k], corners[dropped], offset) > limit for k in better)


def test_nms_by_hand() -> None:
    # 10x10 pixels, shifted by 5: IoU 50/150 without the offset, 6*11/(2*121-66) = 0.375 with it.
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    assert nms(boxes, scores, 0.35, offset=0)[1].tolist() == [1, 2, 0]
    assert nms(boxes, scores, 0.35, offset=1)[1].tolist() == [1, 2]


def test_nms_threshold_is_a_float32() -> None:
    # An IoU of 2/5 is, as a float, above the double 0.4: torchvision itself suppresses here.
    boxes, scores = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4]]), torch.tensor([0.9, 0.8])
    assert torchvision.ops.nms(boxes, scores, 0.4).tolist() == [0]
    assert nms(boxes, scores, 0.4)[1].tolist() == [0, 1]


def test_nms_of_nothing_and_its_options() -> None:
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64
    boxes = np.array([[0, 0, 4, 4], [9, 9, 12, 12], [20, 20, 24, 24]], dtype=F32)
    scores = np.array([0.1, 0.9, 0.5], dtype=F32)
    _, indices = nms(boxes, scores, 0.5, score_threshold=0.2)
    assert isinstance(indices, np.ndarray)
    assert indices.tolist() == [1, 2]
    assert nms(boxes, scores, 0.5, max_num=1)[1].tolist() == [1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_nms_of_half_precision_is_that_of_the_rounded_values(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(2)
    boxes = random_boxes(rng, 40).to(dtype)
    scores = torch.from_numpy(rng.permutation(40) / 64).to(dtype)  # exact: no ties
    assert torch.equal(nms(boxes, scores, 0.5)[1], nms(boxes.float(), scores.float(), 0.5)[1])


def test_batched_nms_and_multiclass_nms_keep_classes_apart() -> None:
    from mmdet.models.layers import multiclass_nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10]])
    scores, labels = torch.tensor([0.6, 0.9, 0.8]), torch.tensor([0, 0, 1])
    dets, kept = batched_nms(boxes, scores, labels, {"type": "nms", "iou_threshold": 0.5})
    assert kept.tolist() == [1, 2]
    assert torch.equal(dets[:, 4], torch.tensor([0.9, 0.8]))
    # Columns: class 0, class 1, background, which never becomes a detection.
    probabilities = torch.tensor([[0.6, 0.0, 0.4], [0.9, 0.0, 0.1], [0.1, 0.8, 0.1]])
    dets, labels = multiclass_nms(
        boxes, probabilities, score_thr=0.05, nms_cfg={"type": "nms", "iou_threshold": 0.5}
    )
    assert torch.equal(dets[:, 4], torch.tensor([0.9, 0.8]))
    assert labels.tolist() == [0, 1]
