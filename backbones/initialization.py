"""The paper's initialization, and zero gamma."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def initialize(module: nn.Module, seed: int | None = None) -> None:
    """He et al. 2019 (arXiv:1812.01187), section 2.1: Xavier uniform, biases 0, gamma 1, beta 0.

    A convolution's or linear layer's weights come from U(-a, a), a = sqrt(6 / (d_in + d_out)),
    d counting the kernel's cells (Glorot and Bengio 2010). Running statistics start anew.
    seed: the same seed gives the same weights, whatever torch's global generator has seen; None
    draws from the global generator.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, _BatchNorm):
            part.reset_parameters()


def zero_gamma(model: nn.Module) -> int:
    """Sets gamma of the last batch normalization of each residual block to 0; returns how many.

    Every residual block then returns its shortcut, and the network is easier to train in its
    first steps (section 3.1, "Zero gamma"). Works for our ResNets and for those models of
    timm whose blocks know how (`zero_init_last`). Raises ValueError where no block does.
    """
    count = 0
    for part in model.modules():
        zero_init_last = getattr(part, "zero_init_last", None)
        if callable(zero_init_last):
            zero_init_last()
            count += 1
    if count == 0:
        raise ValueError(
            f"zero gamma needs residual blocks that end in a batch normalization, and "
            f"{type(model).__name__} has none that say so (method zero_init_last)"
        )
    return count
