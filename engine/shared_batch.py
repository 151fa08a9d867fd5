"""A batch that several processes share is one batch: what is mixed, drawn and counted over it.

Image i of process r is image W * i + r of the batch of W processes, as `EpochStream` deals them
out. So each can draw for all of them from the same generators, and take what falls to its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.dropout import _DropoutNd

from engine.processes import rank, world_size

_alone = False


def is_shared() -> bool:
    """Whether the batch in hand is the share of one of several processes."""
    return world_size() > 1 and not _alone


@contextmanager
def alone() -> Iterator[None]:
    """Within the block this process takes its share for a whole batch, and waits for nobody."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def whole(share: Tensor) -> Tensor:
    """The batch (W * B, ...) of all processes' shares (B, ...), in its order; without gradients."""
    if not is_shared():
        return share
    parts = [torch.empty_like(share, memory_format=torch.contiguous_format) for _ in _others()]
    distributed.all_gather(parts, share.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def share(batch: Tensor) -> Tensor:
    """This process's part (B, ...) of what all hold of a batch (W * B, ...)."""
    return batch[rank() :: world_size()] if is_shared() else batch


def largest(values: list[int]) -> list[int]:
    """Each number's maximum over the processes."""
    return _reduced(values, distributed.ReduceOp.MAX)


def mean_count(count: float, device: torch.device) -> float:
    """The mean over the processes: by which each divides a sum of its own, so that the mean of
    their losses is the sum over the batch by the count of the batch."""
    if not is_shared():
        return count
    total = torch.tensor(float(count), dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return total.item() / world_size()


def draw_for_all(model: nn.Module) -> None:
    """Dropout and dropped paths are drawn for the batch of all processes: the same as of one.

    Layers that drop without being torch's Dropout or timm's DropPath (a function that is called
    inside attention) draw alike in all processes.
    """
    from timm.layers import DropPath

    for module in model.modules():
        # Not AlphaDropout and its kin: what they do is no product with a mask.
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | DropPath):
            module.forward = partial(_dropped, module)  # type: ignore[method-assign]


def _dropped(module: nn.Module, values: Tensor) -> Tensor:
    forward = type(module).forward
    if not (module.training and is_shared()):
        dropped: Tensor = forward(module, values)
        return dropped
    if isinstance(module, nn.Dropout):
        per_image: tuple[int, ...] = values.shape[1:]
    else:  # one draw for each channel of an image, or for each image
        channels = values.shape[1:2] if isinstance(module, _DropoutNd) else (1,)
        per_image = (*channels, *[1] * (values.ndim - 2))
    mask = forward(module, values.new_ones(len(values) * world_size(), *per_image))
    return values * share(mask)


def _others() -> range:
    return range(world_size())


def _reduced(values: list[int], operation: distributed.ReduceOp.RedOpType) -> list[int]:
    if not is_shared():
        return values
    from mmengine.device import get_device

    found = torch.tensor(values, device=get_device())
    distributed.all_reduce(found, operation)
    return found.tolist()
