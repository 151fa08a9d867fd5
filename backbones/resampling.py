"""Feature maps of the strides that a network does not have, made from one that it has.

The simple feature pyramid of Li et al. 2022 (ViTDet, arXiv:2203.16527, section 3), without the
parameters of its own: finer maps by bilinear interpolation in the place of deconvolutions, coarser
ones by max pooling. The convolutions that learn are those of the FPN or head behind it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d


def resample(features: Tensor, *, stride: int, target: int, cells: tuple[int, int]) -> Tensor:
    """The map of stride `stride` on the grid of stride `target`.

    features: (B, C, h, w), whose cell i covers the pixels stride * i up to stride * (i + 1).
    cells: rows and columns of the result, (B, C, *cells); beyond the border the last cells are
    repeated. A stride that divides the target is max-pooled, another is interpolated: bilinear,
    and where it is less than half the target, max-pooled as far as whole cells go before.
    """
    if target // stride > 1:
        window = target // stride
        features = max_pool2d(features, window, stride=window, ceil_mode=True)
        stride *= window
    if stride != target:
        # Interpolation gives floor(cells * scale); with these it is at least what is asked for.
        for dimension, count in zip((-2, -1), cells, strict=True):
            features = _extended(features, -(-count * target // stride), dimension)
        features = interpolate(
            features,
            scale_factor=stride / target,
            mode="bilinear",
            align_corners=False,
            recompute_scale_factor=False,
        )
    rows, columns = cells
    if features.shape[-2:] == cells:
        return features
    assert features.shape[-2] >= rows, f"{tuple(features.shape)} has not {rows} rows"
    assert features.shape[-1] >= columns, f"{tuple(features.shape)} has not {columns} columns"
    return features[..., :rows, :columns]


def _extended(features: Tensor, count: int, dimension: int) -> Tensor:
    """At least `count` cells along a dimension, by repeating the last."""
    missing = count - features.shape[dimension]
    if missing <= 0:
        return features
    last = features.narrow(dimension, features.shape[dimension] - 1, 1)
    return torch.cat([features, *([last] * missing)], dim=dimension)
