"""RoIAlign and focal loss, through mmcv's API, against plain loops; the module itself."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.mmcv_ops import MissingOperatorError, install

if install() == "mmcv":
    pytest.skip("a compiled mmcv is installed: no stand-in to test", allow_module_level=True)
from mmcv.ops import (
    DeformConv2d,
    RoIAlign,
    nms,
    sigmoid_focal_loss,
    soft_nms,
)

# --- RoIAlign ----------------------------------------------------------------------------------


def bilinear(plane: np.ndarray, y: float, x: float) -> float:
    """The value at (y, x); 0 farther than a pixel outside, the border's within (Detectron's)."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
    lower = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return float(upper * (1 - dy) + lower * dy)


def reference_roi_align(
    images: Tensor, rois: Tensor, size: tuple[int, int], scale: float, sampling: int, aligned: bool
) -> Tensor:
    """Section 3 of Mask R-CNN: the mean over regularly placed points of each bin."""
    pooled = np.zeros((len(rois), images.shape[1], *size))
    half = 0.5 if aligned else 0.0
    for k, (index, *box) in enumerate(rois.double().tolist()):
        x1, y1, x2, y2 = (coordinate * scale - half for coordinate in box)
        least = 0.0 if aligned else 1.0
        bin_h, bin_w = max(y2 - y1, least) / size[0], max(x2 - x1, least) / size[1]
        rows, columns = sampling or math.ceil(bin_h), sampling or math.ceil(bin_w)
        for c, plane in enumerate(images[int(index)].double().numpy()):
            for row, column in np.ndindex(*size):
                values = [
                    bilinear(
                        plane,
                        y1 + (row + (i + 0.5) / rows) * bin_h,
                        x1 + (column + (j + 0.5) / columns) * bin_w,
                    )
                    for i, j in np.ndindex(rows, columns)
                ]
                pooled[k, c, row, column] = np.mean(values) if values else 0.0
    return torch.from_numpy(pooled)


IMAGES = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ROIS = torch.tensor(
    [
        [0, 2.0, 3.0, 25.5, 20.25],
        [1, 0.0, 0.0, 43.0, 35.0],
        [1, -9.0, -7.5, 60.0, 50.0],  # beyond the image on every side
        [0, 10.0, 10.0, 11.0, 10.5],  # less than a pixel of the feature map
        [1, 30.0, 8.0, 30.0, 8.0],  # empty
    ],
    dtype=torch.float64,
)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align_equals_the_bilinear_reference(aligned: bool, sampling: int) -> None:
    layer = RoIAlign((3, 4), spatial_scale=0.25, sampling_ratio=sampling, aligned=aligned)
    expected = reference_roi_align(IMAGES, ROIS, (3, 4), 0.25, sampling, aligned)
    assert torch.allclose(layer(IMAGES, ROIS), expected, atol=1e-12)
    single = layer(IMAGES.float(), ROIS.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), expected, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align_backward_equals_numerical_differences(aligned: bool, sampling: int) -> None:
    layer = RoIAlign((2, 2), spatial_scale=0.25, sampling_ratio=sampling, aligned=aligned)
    images = IMAGES[:, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, ROIS), images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roi_align_of_half_precision_is_float32_rounded(dtype: torch.dtype) -> None:
    layer = RoIAlign((3, 3), spatial_scale=0.25)
    weights = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    rois = ROIS.float()  # boxes stay float32 under autocast
    half = IMAGES.to(dtype).requires_grad_()
    single = IMAGES.to(dtype).float().requires_grad_()
    pooled, expected = layer(half, rois), layer(single, rois)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, expected.to(dtype))
    pooled.backward(weights)
    expected.backward(weights.float())
    assert half.grad is not None
    assert single.grad is not None
    assert torch.equal(half.grad, single.grad.to(dtype))


def test_roi_align_of_no_roi() -> None:
    images = IMAGES.float().requires_grad_()
    pooled = RoIAlign((3, 3), spatial_scale=0.25)(images, torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 3, 3)
    pooled.sum().backward()
    assert images.grad is not None
    assert not images.grad.any()


def test_roi_align_by_maximum_is_refused() -> None:
    layer = RoIAlign((2, 2), pool_mode="max")
    with pytest.raises(MissingOperatorError, match=r"pool_mode='max'.*pool_mode='avg'"):
        layer(IMAGES.float(), ROIS.float())


# --- focal loss --------------------------------------------------------------------------------


def reference_focal_loss(logits: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    """Equation 5 of Lin et al. element by element: -alpha_t (1 - p_t)^gamma log(p_t)."""
    loss = torch.zeros_like(logits)
    for n, c in np.ndindex(*logits.shape):
        p = 1 / (1 + math.exp(-float(logits[n, c])))
        p_t, alpha_t = (p, alpha) if int(target[n]) == c else (1 - p, 1 - alpha)
        loss[n, c] = -alpha_t * (1 - p_t) ** gamma * math.log(p_t)
    return loss


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_equals_its_equation_and_its_numerical_gradient(gamma: float) -> None:
    logits = torch.tensor([[0.3, -2.0, 4.0], [1.5, 0.0, -6.0], [-1.0, 2.0, 0.5]]).double()
    target, weight = torch.tensor([2, 0, 3]), torch.tensor([1.0, 2.0, 0.5]).double()
    expected = reference_focal_loss(logits, target, gamma, 0.25)  # 3 is background
    loss = sigmoid_focal_loss(logits, target, gamma, 0.25, None, "none")
    assert torch.allclose(loss, expected, atol=1e-12)
    # mmcv multiplies a row by the weight of its class; here 0.5, 1 and, for background, 1.
    weighted = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, "mean")
    rows = torch.tensor([0.5, 1.0, 1.0]).double()[:, None]
    assert torch.allclose(weighted, (expected * rows).sum() / 3, atol=1e-12)
    for weights in (None, weight):
        assert torch.autograd.gradcheck(
            lambda x, w=weights: sigmoid_focal_loss(x, target, gamma, 0.25, w, "sum"),
            logits.clone().requires_grad_(),
        )


def test_focal_loss_of_sure_answers_is_finite() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for label, expected in ((0, 0.0), (1, 0.25 * 200 + 0.75 * 200)):
        loss = sigmoid_focal_loss(logits, torch.tensor([label]), 0.5, 0.25, None, "sum")
        assert loss.item() == pytest.approx(expected)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()


# --- the module itself -------------------------------------------------------------------------


def test_other_operators_say_what_is_missing() -> None:
    with pytest.raises(MissingOperatorError, match=r"'deform_conv_forward'.*pip install mmcv"):
        DeformConv2d(3, 3, 3, padding=1)(torch.zeros(1, 3, 8, 8), torch.zeros(1, 18, 8, 8))
    with pytest.raises(MissingOperatorError, match="'softnms'"):
        soft_nms(torch.zeros(1, 4), torch.zeros(1))


def test_the_module_is_one_that_python_and_mmengine_accept() -> None:
    extension = importlib.import_module("mmcv._ext")
    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is not None
    assert spec.name == "mmcv._ext"
    assert not hasattr(extension, "__path__")
    assert install() == "torchvision"
    assert sys.modules["mmcv._ext"] is extension
    from mmcv.utils import collect_env

    assert "torchvision" in collect_env()["MMCV Compiler"]


def test_mmdet_and_mmseg_import_whole_with_it() -> None:
    for package in ("mmdet", "mmseg"):
        utilities = importlib.import_module(f"{package}.utils")
        utilities.register_all_modules(init_default_scope=False)
        models = importlib.import_module(f"{package}.registry").MODELS
        assert {"ResNet", "CrossEntropyLoss"} <= set(models.module_dict)


def test_a_compiled_mmcv_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_ext.py").write_text("compiled = True\n")
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    monkeypatch.setattr(mmcv, "_ext", None, raising=False)  # what the import sets is undone
    importlib.invalidate_caches()
    assert install() == "mmcv"
    assert sys.modules["mmcv._ext"].compiled


def test_a_broken_compiled_mmcv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_ext.py").write_text("raise ImportError('undefined symbol: _ZN2at')\n")
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    importlib.invalidate_caches()
    with pytest.warns(RuntimeWarning, match="undefined symbol"):
        assert install() == "torchvision"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    rng = np.random.default_rng(3)
    corner, size = rng.integers(0, 40, (200, 2)), rng.integers(1, 30, (200, 2))
    boxes = torch.from_numpy(np.concatenate([corner, corner + size], axis=1)).float()
    scores = torch.from_numpy(rng.permutation(200) / 200).float()
    for offset in (0, 1):
        kept = nms(boxes.cuda(), scores.cuda(), 0.5, offset=offset)[1]
        assert torch.equal(kept.cpu(), nms(boxes, scores, 0.5, offset=offset)[1])
    layer = RoIAlign((3, 3), spatial_scale=0.25)
    logits, target = torch.randn(6, 4), torch.randint(0, 5, (6,))
    results = []
    for device in ("cpu", "cuda"):
        images = IMAGES.float().to(device).requires_grad_()
        pooled = layer(images, ROIS.float().to(device))
        pooled.square().sum().backward()
        guesses = logits.to(device).requires_grad_()
        loss = sigmoid_focal_loss(guesses, target.to(device), 2.0, 0.25, None, "mean")
        loss.backward()
        assert images.grad is not None
        assert guesses.grad is not None
        results.append([t.cpu() for t in (pooled, images.grad, loss, guesses.grad)])
    for cpu, cuda in zip(*results, strict=True):
        assert torch.allclose(cpu, cuda, atol=1e-5)
