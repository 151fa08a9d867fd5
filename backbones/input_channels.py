"""A backbone for images of one or four channels instead of three."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from backbones.base import Backbone


def set_input_channels(backbone: Backbone, channels: int) -> None:
    """Changes the convolutions that see the image in place, their weights adapted as timm does.

    One channel: the sum over the three. More: the three repeated in turn, times 3 / channels.
    Raises ValueError where the network does not begin with plain convolutions, or has already been
    changed to another number.
    """
    if channels == backbone.input_channels:
        return
    if backbone.input_channels != 3:
        raise ValueError(
            f"{backbone.architecture} takes {backbone.input_channels} channels already and cannot "
            f"be changed to {channels}: start from weights for 3 channels"
        )
    from timm.models._manipulate import adapt_input_conv

    for convolution in _seeing_the_image(backbone):
        with torch.no_grad():
            adapted = adapt_input_conv(channels, convolution.weight.detach())
        convolution.weight = nn.Parameter(adapted.contiguous())
        convolution.in_channels = channels
    try:
        _forward(backbone, channels)
    # torch's refusals; timm's own checks are asserts.
    except (RuntimeError, ValueError, AssertionError):
        raise _cannot(backbone, channels) from None
    backbone.input_channels = channels


def _seeing_the_image(backbone: Backbone) -> list[nn.Conv2d]:
    found: list[nn.Conv2d] = []

    def look(module: nn.Conv2d, inputs: tuple[Any, ...]) -> None:
        if inputs[0].shape[1] == 3 and module.groups == 1 and module not in found:
            found.append(module)

    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    handles = [module.register_forward_pre_hook(look) for module in convolutions]
    try:
        _forward(backbone, 3)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _forward(backbone: Backbone, channels: int) -> None:
    side = backbone.fixed_size or backbone.native_size
    where = next(backbone.parameters()).device
    training = [module for module in backbone.modules() if module.training]
    backbone.eval()
    try:
        with torch.no_grad():
            backbone.classification_features(torch.zeros(1, channels, side, side, device=where))
    finally:
        for module in training:
            module.training = True


def _cannot(backbone: Backbone, channels: int) -> ValueError:
    return ValueError(
        f"{backbone.architecture} cannot take images of {channels} channels, because it does not "
        "begin with plain convolutions; take another architecture, or leave the trick out that "
        "changes the channels (grey(channels=3) keeps three)"
    )
