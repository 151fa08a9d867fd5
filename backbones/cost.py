"""What a network costs: parameters and multiply-adds."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """The number of parameters (gammas and betas included, running statistics not)."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_gmacs(
    module: nn.Module, image_size: int | tuple[int, int] = 224, *, channels: int = 3
) -> float:
    """Multiply-adds of one forward pass of one image, in units of 10^9.

    The papers' "FLOPs" are these; torch's FlopCounterMode counts a multiply-add as two.
    image_size: side, or (height, width), in pixels. Counts matrix products and convolutions.
    channels: of the image.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    # A copy: the module stays in its mode, on its device, in its memory format.
    twin = copy.deepcopy(module).cpu().eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        twin(torch.zeros(1, channels, height, width))
    return counter.get_total_flops() / 2 / 1e9
