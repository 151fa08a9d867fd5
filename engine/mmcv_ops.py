"""mmcv's compiled operators on torchvision's kernels, so that no C++ compiler is needed.

`mmcv.ops` imports a compiled module, `mmcv._ext`. Detectors call few of its operators: `nms`
(all), `roi_align_*` (two-stage), `sigmoid_focal_loss_*` (one-stage, on CUDA); segmentors call
none. :func:`install` puts a module in its place that has these on CPU and CUDA, agreeing with
mmcv 2.1.0, and every other operator as a function that raises :class:`MissingOperatorError`.

Call :func:`install` before `mmcv.ops`, `mmdet` or `mmseg` is imported, in every process: a data
worker started by `spawn` is a new one.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import logsigmoid

from engine.fast_paths import is_fast
from engine.sparse_roi_align import SparseRoIAlign, sparse_roi_align

_EXTENSION = "mmcv._ext"
_REMEDY = (
    "Choose a model that does without it, or install the full mmcv (`pip install mmcv==2.1.0`, "
    "which compiles for about twenty minutes); a compiled mmcv is used wherever there is one."
)


class MissingOperatorError(NotImplementedError):
    """A model called an operator of mmcv that has no counterpart on torchvision's kernels."""


def install() -> str:
    """Make `mmcv.ops` importable and say whose operators it has. Idempotent.

    Returns: "mmcv" where a compiled `mmcv._ext` can be imported, which is then used;
        "torchvision" where this module's stand-in was put into `sys.modules`.
    Warns: RuntimeWarning when a compiled `mmcv._ext` is there and cannot be loaded (it was
        compiled for another torch); the stand-in is used then.
    Raises: ModuleNotFoundError when mmcv itself is not installed.
    """
    importlib.import_module("mmcv")
    try:
        extension = importlib.import_module(_EXTENSION)
    except ImportError as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == _EXTENSION):
            warnings.warn(
                f"the compiled {_EXTENSION} cannot be loaded ({error}): torchvision's kernels "
                "are used instead. Reinstall mmcv for this torch, or mmcv-lite, to end this.",
                RuntimeWarning,
                stacklevel=2,
            )
        extension = sys.modules[_EXTENSION] = _build_extension()
    return "torchvision" if isinstance(extension, _TorchvisionExtension) else "mmcv"


class _TorchvisionExtension(ModuleType):
    """The stand-in for `mmcv._ext`: what is not set on it is an operator that it lacks."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("_"):  # what Python itself asks of a module is no operator
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

        def missing_operator(*_: Any, **__: Any) -> NoReturn:
            raise MissingOperatorError(
                f"mmcv's operator {name!r} was called, which needs mmcv's compiled extension; "
                f"torchvision's kernels stand in for NMS, RoIAlign and focal loss only. {_REMEDY}"
            )

        missing_operator.__name__ = name
        return missing_operator


def _build_extension() -> _TorchvisionExtension:
    extension = _TorchvisionExtension(_EXTENSION, doc="mmcv's operators on torchvision's kernels.")
    # importlib.util.find_spec raises for a loaded module without one. It has no loader, so
    # mmengine rightly concludes that the full mmcv is absent.
    extension.__spec__ = ModuleSpec(_EXTENSION, None)
    operators = (
        nms,
        roi_align_forward,
        roi_align_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
    for operator in operators:
        setattr(extension, operator.__name__, operator)
    return extension


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression that agrees with mmcv's, ties included.

    boxes: (N, 4) as x1, y1, x2, y2; scores: (N,); offset: 0, or 1 for boxes whose last pixel
    counts, of width x2 - x1 + 1. A box goes when its IoU with a better one kept exceeds
    `iou_threshold`. Returns the indices kept (K,), int64, best score first.
    """
    # Three details of mmcv's kernel (csrc/pytorch/cpu/nms.cpp): it computes in float32; its
    # threshold is a C float; and equal scores go in the order of this very call of sort, which
    # is not stable. torchvision would sort them otherwise, so it gets ranks without ties.
    order = scores.sort(dim=0, descending=True).indices
    corners = boxes[order].float()
    corners = corners + corners.new_tensor([0, 0, offset, offset])
    ranks = torch.arange(len(order), 0, -1, dtype=torch.float32, device=boxes.device)
    threshold = torch.tensor(iou_threshold, dtype=torch.float32).item()
    return order[torchvision.ops.nms(corners, ranks, threshold)]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign by averages (He et al., Mask R-CNN, arXiv:1703.06870, section 3) into `output`.

    input: (N, C, H, W); rois: (K, 5) as image index, x1, y1, x2, y2 in image pixels; output:
    (K, C, aligned_height, aligned_width), overwritten. sampling_ratio: points per bin and axis,
    0 for about one per pixel; pool_mode: 1 (average). argmax_*: of the maximum only, unused.
    Raises MissingOperatorError for pool_mode 0 (maximum).
    """
    _check_average(pool_mode)
    dtype = _kernel_dtype(input)
    bins = (aligned_height, aligned_width)
    sparse = _sparse(input, rois.to(dtype), bins, spatial_scale, sampling_ratio, aligned)
    if sparse is not None:
        output.copy_(sparse.forward(input.to(dtype)))
        return
    pooled = torch.ops.torchvision.roi_align(
        input.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` with respect to `input`, into `grad_input`.

    grad_output: (K, C, aligned_height, aligned_width); grad_input: (N, C, H, W), overwritten.
    """
    _check_average(pool_mode)
    dtype = _kernel_dtype(grad_output)
    bins = (aligned_height, aligned_width)
    sparse = _sparse(grad_input, rois.to(dtype), bins, spatial_scale, sampling_ratio, aligned)
    if sparse is not None:
        grad_input.copy_(sparse.backward(grad_output.to(dtype)))
        return
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def _sparse(
    features: Tensor,
    rois: Tensor,
    bins: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> SparseRoIAlign | None:
    """The faster way for these features, where there is one."""
    if features.device.type != "cpu" or not is_fast("sparse_roi_align"):
        return None
    return sparse_roi_align(
        features.shape,
        rois,
        bins=bins,
        scale=scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss (Lin et al., arXiv:1708.02002, eq. 5) of each logit, into `output`.

    input: (N, C) logits; target: (N,) classes in 0..C, C for background; weight: (C,) for each
    row by its class (1 for background), or empty; output: (N, C), overwritten.
    """
    z, scale, _ = _focal_terms(input, target, weight, alpha)
    output.copy_(-scale * torch.sigmoid(-z) ** gamma * logsigmoid(z))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of :func:`sigmoid_focal_loss_forward` by each logit, into `grad_input`."""
    z, scale, sign = _focal_terms(input, target, weight, alpha)
    p, q = torch.sigmoid(z), torch.sigmoid(-z)
    grad_input.copy_(sign * scale * q**gamma * (gamma * p * logsigmoid(z) - q))


def _focal_terms(
    input: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The logit of the right answer z, with p_t = sigmoid(z); alpha_t times weight; dz/dinput."""
    dtype = _kernel_dtype(input)
    positive = target[:, None] == torch.arange(input.shape[1], device=input.device)
    sign = positive.to(dtype) * 2 - 1
    scale = torch.where(positive, alpha, 1 - alpha).to(dtype)
    if weight.numel():
        scale = scale * torch.cat([weight, weight.new_ones(1)]).to(dtype)[target][:, None]
    return input.to(dtype) * sign, scale, sign


def get_compiler_version() -> str:
    """What `mmcv.utils.collect_env` prints as the compiler of mmcv's operators."""
    return f"none (torchvision {torchvision.__version__} kernels)"


def get_compiling_cuda_version() -> str:
    """What `mmcv.utils.collect_env` prints as the CUDA version of mmcv's operators."""
    return torch.version.cuda or "not available"


def _kernel_dtype(tensor: Tensor) -> torch.dtype:
    """float64 stays; half precision is computed in float32: torchvision has no bf16 backward."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _check_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise MissingOperatorError(
            "RoIAlign was asked for pool_mode='max'; on torchvision's kernels there is "
            f"pool_mode='avg' only. Set it in the configuration's roi_layer. {_REMEDY}"
        )
