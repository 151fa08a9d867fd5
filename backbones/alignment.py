"""The common grid for networks whose convolutions are not all padded.

In such a network cell i of the level of stride s lies (the centre of what it sees) not at pixel
s * i, as in every padded network, but at s * i + o; and it has fewer cells than ceil(side / s).
Boxes and masks need the common grid. Where the levels' offsets o differ by multiples of their
strides, it comes exactly and with the network as it is: the image is padded with zeros (the mean
colour) by the largest offset at the left and top, and at the right and bottom as far as the last
cells see; then the first cells of the finer levels lie outside the image and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn.functional import pad


def aligned_levels(
    network: Callable[[Tensor], Sequence[Tensor]],
    x: Tensor,
    *,
    strides: Sequence[int],
    offsets: Sequence[int],
) -> tuple[Tensor, ...]:
    """The levels of the unpadded `network` with cell i at pixel stride * i, ceil(side / stride).

    x: (B, 3, H, W). strides: of the network's levels, dilation included. offsets: the pixel of
    each level's first cell, fine to coarse; (reach - offset) is a multiple of the stride, where
    reach is the last, largest one.
    """
    reach = offsets[-1]
    sides = x.shape[-2:]
    # As many cells of the finest level as cover the image; what the last of them sees until the
    # border is as much as the first sees. The finest level's stride is 4, dilated or not: so
    # dilation does not change the padding, and with it the numbers.
    finest = strides[0]
    bottom, right = (
        2 * reach + 1 + finest * (_cells(side, finest) - 1) - reach - side for side in sides
    )
    levels = network(pad(x, (reach, right, reach, bottom)))
    aligned = []
    for level, stride, offset in zip(levels, strides, offsets, strict=True):
        first, beyond = divmod(reach - offset, stride)
        assert beyond == 0, f"offset {offset} at stride {stride} is not on the grid of {reach}"
        rows, columns = (_cells(side, stride) for side in sides)
        aligned.append(level[..., first : first + rows, first : first + columns])
    return tuple(aligned)


def _cells(side: int, stride: int) -> int:
    return -(-side // stride)
