"""How large our architectures are, for plans that have no time to build them.

Counted on the networks themselves, which tests/backbones/test_sizes.py does again.
"""

from __future__ import annotations

from typing import NamedTuple

PIXELS = 224**2
"""Of the image that all is counted for."""
_QUARTER = 0.25


class Size(NamedTuple):
    """parameters, gmacs: at full width and at a quarter of it. kept: millions of bytes that a
    forward pass in float32 keeps of an image for the backward pass, in proportion to the width."""

    parameters: int
    parameters_of_quarter: int
    gmacs: float
    gmacs_of_quarter: float
    kept: float


SIZES = {
    "resnet18a": Size(11176512, 702096, 1.81356, 0.135475, 22.2),
    "resnet18b": Size(11176512, 702096, 1.81356, 0.135475, 22.2),
    "resnet18c": Size(11195744, 701720, 2.0532, 0.130357, 28.62),
    "resnet18d": Size(11195744, 701720, 2.0532, 0.130357, 28.97),
    "resnet34a": Size(21284672, 1335248, 3.66325, 0.251081, 32.25),
    "resnet34b": Size(21284672, 1335248, 3.66325, 0.251081, 32.25),
    "resnet34c": Size(21303904, 1334872, 3.90289, 0.245963, 38.67),
    "resnet34d": Size(21303904, 1334872, 3.90289, 0.245963, 39.02),
    "resnet50a": Size(23508032, 1480976, 3.85593, 0.263123, 81.79),
    "resnet50b": Size(23508032, 1480976, 4.08714, 0.277574, 86.01),
    "resnet50c": Size(23527264, 1480600, 4.32678, 0.272456, 92.43),
    "resnet50d": Size(23527264, 1480600, 4.32678, 0.272456, 93.84),
    "resnet101a": Size(42500160, 2677776, 7.56815, 0.495137, 122.8),
    "resnet101b": Size(42500160, 2677776, 7.79936, 0.509587, 127.1),
    "resnet101c": Size(42519392, 2677400, 8.039, 0.50447, 133.5),
    "resnet101d": Size(42519392, 2677400, 8.039, 0.50447, 134.9),
    "resnet152a": Size(58143808, 3664144, 11.2804, 0.727151, 173.5),
    "resnet152b": Size(58143808, 3664144, 11.5116, 0.741601, 177.7),
    "resnet152c": Size(58163040, 3663768, 11.7512, 0.736483, 184.1),
    "resnet152d": Size(58163040, 3663768, 11.7512, 0.736483, 185.6),
    "inception_v3": Size(21785568, 1375576, 5.14602, 0.340325, 91.22),
    "mobilenet": Size(3206976, 213072, 0.567716, 0.0407743, 40.99),
}
"""Of what C2..C5 are made from, without a classifier."""

_TORCHVISION = "torchvision:"


def parameters(architecture: str, width: float = 1.0) -> int | None:
    """None for an architecture that is not in `SIZES`; torchvision's ResNets are our ResNet-B, and
    have one width."""
    if (found := _known(architecture, width)) is None:
        return None
    size, width = found
    return round(_at(width, size.parameters, size.parameters_of_quarter))


def gmacs(architecture: str, width: float = 1.0) -> float | None:
    """Of an image of 224 pixels; None as `parameters`."""
    if (found := _known(architecture, width)) is None:
        return None
    size, width = found
    return _at(width, size.gmacs, size.gmacs_of_quarter)


def kept_bytes(architecture: str, width: float = 1.0, pixels: float = PIXELS) -> float | None:
    """Of one image in float32, as in Size; None as `parameters`."""
    if (found := _known(architecture, width)) is None:
        return None
    size, width = found
    return size.kept * 1e6 * width * pixels / PIXELS


def _known(architecture: str, width: float) -> tuple[Size, float] | None:
    """With the width that the network is made with."""
    if architecture.startswith(_TORCHVISION):
        architecture, width = f"{architecture.removeprefix(_TORCHVISION)}b", 1.0
    size = SIZES.get(architecture)
    return None if size is None else (size, width)


def _at(width: float, full: float, quarter: float) -> float:
    """A convolution grows with the square of the width, one of the image and a norm with it."""
    square = (full - quarter / _QUARTER) / (1 - _QUARTER)
    return square * width**2 + (full - square) * width
