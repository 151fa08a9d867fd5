"""RoIAlign as a sparse matrix against torchvision's kernel, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import mmcv_ops
from engine.mmcv_ops import install
from engine.sparse_roi_align import sparse_roi_align

install()
from mmcv.ops import RoIAlign  # noqa: E402

IMAGES, CHANNELS, HEIGHT, WIDTH = 3, 5, 13, 17


def regions(seed: int, count: int = 40) -> Tensor:
    """Of images of four times the features' size: inside, across the border, thin, inverted."""
    rng = np.random.default_rng(seed)
    start = rng.uniform([-20, -20], [4 * WIDTH, 4 * HEIGHT], (count, 2))
    size = rng.uniform(-3, 80, (count, 2))
    image = rng.integers(0, IMAGES, (count, 1))
    return torch.from_numpy(np.concatenate([image, start, start + size], axis=1)).float()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("bins", [(7, 7), (3, 5)])
def test_it_is_torchvisions(aligned: bool, sampling_ratio: int, bins: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = torch.randn(IMAGES, CHANNELS, HEIGHT, WIDTH)
    options: dict[str, Any] = dict(sampling_ratio=sampling_ratio, aligned=aligned)
    for seed in range(3):
        rois = regions(seed)
        sparse = sparse_roi_align(features.shape, rois, bins=bins, scale=0.25, **options)
        assert sparse is not None
        expected = torch.ops.torchvision.roi_align(
            features, rois, 0.25, *bins, sampling_ratio, aligned
        )
        torch.testing.assert_close(sparse.forward(features), expected, atol=1e-5, rtol=1e-5)
        gradient = torch.randn_like(expected)
        back = torch.ops.torchvision._roi_align_backward(
            gradient, rois, 0.25, *bins, *features.shape, sampling_ratio, aligned
        )
        torch.testing.assert_close(sparse.backward(gradient), back, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("corner", [float("nan"), float("inf"), 1e6])
def test_what_would_be_too_much_is_left_to_the_kernel(corner: float) -> None:
    rois = torch.tensor([[0, 1.0, 1.0, 5.0, 5.0], [0, 1.0, 1.0, corner, 5.0]])
    shape = torch.Size([1, 2, 8, 8])
    options: dict[str, Any] = dict(bins=(7, 7), scale=1.0, sampling_ratio=0, aligned=True)
    assert sparse_roi_align(shape, rois, **options) is None
    assert sparse_roi_align(shape, rois[:0], **options) is None
    assert sparse_roi_align(shape, rois[:1], **options) is not None


def pooled(rois: Tensor) -> tuple[Tensor, Tensor]:
    """mmcv's RoIAlign and the gradient of its features."""
    torch.manual_seed(0)
    features = torch.randn(IMAGES, CHANNELS, HEIGHT, WIDTH, requires_grad=True)
    found = RoIAlign(7, 0.25, 0)(features, rois)
    (gradient,) = torch.autograd.grad(found.square().sum(), features)
    return found, gradient


def test_the_switch_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    rois = regions(7)
    fast = pooled(rois)

    def not_asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the faster way was taken")

    monkeypatch.setattr(mmcv_ops, "sparse_roi_align", not_asked)
    with pytest.raises(AssertionError, match="faster"):
        pooled(rois)
    monkeypatch.setenv("TRICKLE_REFERENCE", "sparse_roi_align")
    for one, other in zip(fast, pooled(rois), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
