"""Weights with which timm's last layers hand the last map on to the classifier as it is.

timm's EfficientNets and MobileNets have a 1x1 convolution, a normalization and an activation
between their last map and the classifier; an artifact's classifier takes the map's average itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

_GREATEST = 1000.0
"""Of the last map's values: up to here the logits are the artifact's."""
_SCALES = (1.0, 2.0**-8)
"""The second for activations that are clipped at 6; powers of two lose no bits."""
_STEEP, _SHIFT = 64.0, 32.0
_LEAST = -0.38
"""Below what a hard swish, a swish, a GELU or a ReLU can give."""

_Function = Callable[[Tensor], Tensor]


def passing_on(model: Any, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of timm's `conv_head`, of its normalization, and of `classifier`, by name.

    head: {"weight" (K, C), "bias" (K,)} of the average of the last map (B, C, H, W). With f the
    activation, f(x) - f(-x) is x where the convolution has 2 C outputs or more; with fewer,
    (f(64 x + 32) - 32) / 64 is, of maps that are an activation's. Empty for a model without such
    layers, or with others: no weights make these pass on a map.
    """
    conv, norm = getattr(model, "conv_head", None), _normalization(model)
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (1, 1) or norm is None:
        return {}
    activation: _Function = norm.act if isinstance(norm, BatchNormAct2d) else model.act2
    channels, units = conv.in_channels, conv.out_channels
    scale = next((s for s in _SCALES if _is_odd(activation, s * _GREATEST)), None)
    same = torch.eye(channels)
    shift = 0.0
    if scale is not None and units >= 2 * channels:
        passed = torch.cat([scale * same, -scale * same])
        weight = torch.cat([head["weight"] / scale, -head["weight"] / scale], dim=1)
    elif units >= channels and _shifts(model, activation):
        shift, passed, weight = _SHIFT, _STEEP * same, head["weight"] / _STEEP
    else:
        return {}
    found = {
        "conv_head.weight": _filled(conv.weight, passed[..., None, None]),
        "classifier.weight": _filled(model.classifier.weight, weight),
        "classifier.bias": head["bias"] - shift * weight.sum(dim=1),
    }
    if conv.bias is not None:
        found["conv_head.bias"] = torch.full_like(conv.bias, shift)
    elif isinstance(norm, nn.Identity) and shift:
        return {}
    if isinstance(norm, BatchNormAct2d):
        found |= _identity(norm, shift, "bn2" if hasattr(model, "bn2") else "norm_head")
    return found


def _normalization(model: Any) -> Any:
    """The one behind `conv_head`; None for a kind that cannot leave a map as it is."""
    norm = getattr(model, "bn2", getattr(model, "norm_head", None))
    return norm if isinstance(norm, (BatchNormAct2d, nn.Identity)) else None


def _identity(norm: BatchNormAct2d, shift: float, name: str) -> dict[str, Tensor]:
    variance = torch.ones(norm.num_features)
    return {
        f"{name}.weight": (variance + norm.eps).sqrt(),
        f"{name}.bias": torch.full_like(variance, shift),
        f"{name}.running_mean": torch.zeros_like(variance),
        f"{name}.running_var": variance,
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def _filled(like: Tensor, values: Tensor) -> Tensor:
    """`values` (A, B, ...) in the corner of zeros of the shape of `like`."""
    found = torch.zeros_like(like)
    found[: values.shape[0], : values.shape[1]] = values
    return found


def _is_odd(activation: _Function, greatest: float) -> bool:
    values = torch.linspace(-greatest, greatest, 2001)
    difference = activation(values.clone()) - activation(-values)
    return torch.allclose(difference, values, rtol=1e-6, atol=1e-6)


def _shifts(model: Any, activation: _Function) -> bool:
    """Whether 64 x + 32 goes through the activation as it is, for all x the last map can have."""
    last = model.blocks[-1][-1]
    if type(last).__name__ != "ConvBnAct" or last.has_skip:
        return False
    values = torch.linspace(-10.0, 10.0, 20_001)
    shifted = _STEEP * torch.linspace(_LEAST, _GREATEST, 100_001) + _SHIFT
    with torch.no_grad():
        least = last.bn1.act(values).min().item()
    return least >= _LEAST and torch.allclose(
        activation(shifted.clone()), shifted, rtol=1e-6, atol=0
    )
