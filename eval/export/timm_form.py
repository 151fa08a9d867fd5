"""Which model of timm an artifact's architecture is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backbones.card import Card
from backbones.catalog import RESNETS, parse_architecture
from backbones.width import scale_channels

_MOBILENETS = {1.0: "mobilenetv1_100", 1.25: "mobilenetv1_125"}
_INCEPTION_LEVELS = ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
RESNET_LEVELS: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """name, arguments: make the model. levels: its modules that give C2..C5, as the classifier
    sees them. classifier: the name of its last layer."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    levels: tuple[str, ...] = RESNET_LEVELS
    classifier: str = "fc"


def timm_form(card: Card) -> NamedModel | str:
    """The model of timm that has the weights' names and function, or why there is none.

    For our own architectures and torchvision's; timm's own are in `to_timm`.
    """
    name, width = card.architecture, card.arguments["width"]
    if name == "inception_v3":
        if width != 1.0:
            return "timm's inception_v3 has one width"
        return NamedModel(name=name, levels=_INCEPTION_LEVELS)
    if name == "mobilenet":
        if width not in _MOBILENETS:
            return f"timm's MobileNet-V1 comes in the widths {', '.join(map(str, _MOBILENETS))}"
        return NamedModel(
            name=_MOBILENETS[width],
            arguments={"act_layer": "relu"},  # timm's is that of the authors' code, clipped at 6
            levels=("blocks.1", "blocks.2", "blocks.3", "blocks.4"),
            classifier="classifier",
        )
    return _resnet_form(card)


def torchvision_form(card: Card) -> NamedModel | str:
    """As `timm_form`, for torchvision."""
    name, width = card.architecture, card.arguments["width"]
    if width != 1.0:
        return "torchvision's models have one width"
    if name == "inception_v3":
        # transform_input is preprocessing, init_weights takes seconds.
        arguments = {"aux_logits": False, "transform_input": False, "init_weights": False}
        return NamedModel(name=name, arguments=arguments, levels=_INCEPTION_LEVELS)
    if not is_resnet(name):
        return "torchvision has no such model"
    depth, variant = resnet_of(name)
    if variant in "cd":
        return "torchvision has no ResNet-C or -D"
    if variant == "a" and depth >= 50:
        return "torchvision's ResNet is ResNet-B: it strides in the 3x3 convolution"
    return NamedModel(name=f"resnet{depth}")


def is_resnet(architecture: str) -> bool:
    """Whether it is one of our ResNets; torchvision's are our ResNet-B."""
    return architecture in RESNETS or architecture.startswith("torchvision:")


def resnet_of(architecture: str) -> tuple[int, str]:
    """Depth and variant of what `is_resnet`."""
    if architecture.startswith("torchvision:"):
        return int(architecture.removeprefix("torchvision:resnet")), "b"
    return parse_architecture(architecture)


def _resnet_form(card: Card) -> NamedModel | str:
    if not is_resnet(card.architecture):
        return "timm has no such model"
    depth, variant = resnet_of(card.architecture)
    width = card.arguments["width"]
    if variant == "a" and depth >= 50:
        return "timm's ResNets stride in the 3x3 convolution, as ResNet-B does"
    arguments: dict[str, Any] = {}
    if width != 1.0:
        half, stem = scale_channels(32, width), scale_channels(64, width)
        if variant in "ab":
            return "timm's ResNet has one width of the 7x7 convolution"
        if stem != 2 * half:
            return f"timm's stem doubles its channels, at width {width:g} it is {half} to {stem}"
        channels = [scale_channels(c, width) for c in (64, 128, 256, 512)]
        arguments = {"stem_width": half, "channels": channels}
    if variant == "c" and depth < 50:  # timm has no name for these
        arguments = {"stem_type": "deep", "stem_width": 32, **arguments}
        return NamedModel(name=f"resnet{depth}", arguments=arguments)
    suffix = variant if variant in "cd" else ""
    return NamedModel(name=f"resnet{depth}{suffix}", arguments=arguments)
