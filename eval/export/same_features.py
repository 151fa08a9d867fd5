"""An export proves itself: the target's own network, loaded strictly, computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

RELATIVE_TOLERANCE = 1e-5
"""Of a map's greatest value. Where both networks do the same operations all bits are equal."""


def trial_images(side: int, batch: int = 1, *, channels: int = 3) -> Tensor:
    """(batch, channels, side, side) normally distributed numbers, the same in every call."""
    return torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(0))


def load_strictly(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """`model` in eval mode with `state`, each tensor under its name. Raises RuntimeError."""
    model.load_state_dict(state, strict=True)
    model.eval()  # of mmdet's ResNet it returns None
    return model


def outputs_of(model: nn.Module, modules: Sequence[str], images: Tensor) -> list[Tensor]:
    """What the submodules of that name give for the images, and last what the model gives."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        # A copy: a later module may work in place.
        return lambda module, inputs, output: found.update({name: output.detach().clone()})

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in modules]
    try:
        with torch.no_grad():
            last = model(images)
    finally:
        for handle in handles:
            handle.remove()
    return [*(found[name] for name in modules), last]


def check_same(expected: Sequence[Tensor], found: Sequence[Tensor], *, what: str) -> None:
    """Raises AssertionError naming the outputs that differ: the export is wrong then, not the user.

    what: names the target in the message.
    """
    for i, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        difference = relative_difference(ours, theirs)
        # Also where it is nan.
        if not difference <= RELATIVE_TOLERANCE:
            raise AssertionError(f"output {i} of {what} differs from the artifact's: {difference}")


def relative_difference(expected: Tensor, found: Tensor) -> float:
    """The greatest difference over the greatest value; infinite for other shapes."""
    if expected.shape != found.shape:
        return float("inf")
    scale = expected.abs().max().item() or 1.0
    return (expected - found).abs().max().item() / scale
