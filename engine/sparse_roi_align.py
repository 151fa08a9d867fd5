"""RoIAlign on the CPU as one sparse matrix, which its gradient takes transposed.

Each cell of a pooled region is a weighted mean of a few cells of the features, of all channels
alike: (regions * bins, cells of the features) times (cells, channels). torchvision's kernel on the
CPU computes each channel for itself, and its gradient in one place after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

MOST_POINTS = 64
"""Sample points of a bin along an axis: a region far larger than any image is left to the kernel,
since the matrix would have as many entries."""

MOST_ENTRIES = 2**24
"""Of the matrix, some 200 MB: each bin has as many as the widest one."""


@dataclass(frozen=True, kw_only=True)
class SparseRoIAlign:
    """What RoIAlign does to features of (N, _, H, W): a matrix (K * bins, N * H * W)."""

    matrix: csr_matrix
    bins: tuple[int, int]
    height: int
    width: int

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (K, C, *bins)."""
        pooled = _product(self.matrix, features)
        return pooled.view(-1, *self.bins, features.shape[1]).permute(0, 3, 1, 2)

    def backward(self, gradient: Tensor) -> Tensor:
        """(K, C, *bins) -> (N, C, H, W)."""
        given = _product(self.matrix.T, gradient)
        return given.view(-1, self.height, self.width, gradient.shape[1]).permute(0, 3, 1, 2)


def sparse_roi_align(
    features: torch.Size,
    rois: Tensor,
    *,
    bins: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> SparseRoIAlign | None:
    """For features of this shape (N, C, H, W) and rois (K, 5) as image, x1, y1, x2, y2.

    None where there is no region, or one that is not finite or too large, or where they differ so
    much that the matrix would be too large.
    """
    images, _, height, width = features
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0)
    sizes = corners[:, 2:] - corners[:, :2]
    if not aligned:
        sizes = sizes.clamp(min=1)
    if not len(rois) or not corners.isfinite().all() or sizes.max() / min(bins) > MOST_POINTS:
        return None
    rows, row_shares = _axis(corners[:, 1], sizes[:, 1], bins[0], sampling_ratio, height)
    columns, column_shares = _axis(corners[:, 0], sizes[:, 0], bins[1], sampling_ratio, width)
    count, entries = len(rois) * bins[0] * bins[1], rows.shape[-1] * columns.shape[-1]
    if count * entries > MOST_ENTRIES:
        return None
    rows = rows * width + (rois[:, 0].int() * (height * width))[:, None, None]
    cells = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    shares = row_shares[:, :, None, :, None] * column_shares[:, None, :, None, :]
    starts = np.arange(0, count * entries + 1, entries, dtype=np.int32)
    matrix = csr_matrix(
        (shares.numpy().ravel(), cells.numpy().ravel(), starts),
        shape=(count, images * height * width),
    )
    return SparseRoIAlign(matrix=matrix, bins=bins, height=height, width=width)


def _product(matrix: csr_matrix, maps: Tensor) -> Tensor:
    """The matrix times maps of (B, C, H, W) as (B * H * W, C)."""
    return torch.from_numpy(matrix @ maps.permute(0, 2, 3, 1).flatten(0, 2).numpy())


def _axis(
    start: Tensor, size: Tensor, bins: int, sampling_ratio: int, length: int
) -> tuple[Tensor, Tensor]:
    """The cells that each bin of each region takes along an axis, and their shares.

    start, size: (K,) in cells. Returns two tensors (K, bins, S), where S is what the widest bin
    takes; the others have shares of 0. As in torchvision's kernel: a point between two cells takes
    from both, one up to a cell outside from the border's, one further away from none.
    """
    step = size / bins
    points = torch.full_like(size, sampling_ratio) if sampling_ratio else torch.ceil(step)
    count = points.clamp(min=1)[:, None, None]
    point = torch.arange(max(1, int(points.max())), dtype=size.dtype)
    left = start[:, None] + torch.arange(bins, dtype=size.dtype) * step[:, None]
    position = left[:, :, None] + (point + 0.5) * (step[:, None, None] / count)
    taken = (point < points[:, None, None]) & (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    low = position.floor()
    first = low.amin(dim=-1, keepdim=True)
    cells = first + torch.arange(int((low - first).max()) + 2, dtype=size.dtype)
    near = 1 - (position[..., None] - cells[:, :, None, :]).abs()
    shares = (near.clamp_(min=0) * (taken / count)[..., None]).sum(dim=2)
    return cells.clamp(max=length - 1).int(), shares  # a cell beyond the border has no share
