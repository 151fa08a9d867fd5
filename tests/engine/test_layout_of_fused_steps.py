"""A fused optimizer moves each weight by its own gradient, however the tensors lie in memory."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from engine.precision import StepOptimWrapper

FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize(("weights", "gradients", "averages"), list(product(FORMATS, repeat=3)))
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_each_weight_gets_its_own_gradient(
    kind: type[torch.optim.Optimizer],
    weights: torch.memory_format,
    gradients: torch.memory_format,
    averages: torch.memory_format,
) -> None:
    moved = []
    for fused in (False, True):
        generator = torch.Generator().manual_seed(0)
        weight, first, second = (torch.randn(4, 3, 3, 3, generator=generator) for _ in range(3))
        parameter = nn.Parameter(weight.to(memory_format=weights))
        momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        wrapper = StepOptimWrapper(
            optimizer=kind([parameter], lr=0.1, weight_decay=0.1, fused=fused, **momentum)
        )
        parameter.grad = first.to(memory_format=weights)
        wrapper.step()
        state = wrapper.optimizer.state[parameter]
        for name, value in state.items():
            if value.ndim == 4:
                state[name] = value.clone(memory_format=averages)
        parameter.grad = second.to(memory_format=gradients)
        wrapper.step()
        moved.append(parameter.detach().contiguous())
    assert torch.allclose(moved[0], moved[1], atol=1e-6)
