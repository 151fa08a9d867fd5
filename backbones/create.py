"""A backbone by its name."""

from __future__ import annotations

from importlib import import_module

from backbones.base import Backbone
from backbones.catalog import CLASSES, check_architecture, parse_architecture


def create_backbone(name: str, *, output_stride: int = 32, width: float = 1.0) -> Backbone:
    """A backbone with random weights; forward returns the tuple (C2, C3, C4, C5).

    name: one of `ARCHITECTURES`, `timm:<model>` or `torchvision:<model>`. output_stride: 32, or
    16 or 8 with dilated last stages. width: factor on the channels of our own architectures;
    models of timm and torchvision have width 1 only. Random numbers come from torch's global
    generator. `.features` says channels and strides. Raises UnknownNameError for the name and
    ValueError for the other arguments.
    """
    check_architecture(name)
    package, _, model = name.partition(":")
    if package == "timm":
        _check_full_width(name, width)
        from backbones.timm_models import timm_backbone

        return timm_backbone(model, output_stride=output_stride)
    if package == "torchvision":
        _check_full_width(name, width)
        from backbones.torchvision_models import torchvision_backbone

        return torchvision_backbone(model, output_stride=output_stride)
    if name in CLASSES:
        made: type[Backbone] = getattr(import_module(f"backbones.{name}"), CLASSES[name])
        return made(width=width, output_stride=output_stride)
    from backbones.resnet import ResNet

    depth, variant = parse_architecture(name)
    return ResNet(depth, variant, width=width, output_stride=output_stride)


def _check_full_width(name: str, width: float) -> None:
    if width != 1.0:
        raise ValueError(
            f"only our own architectures have a width: {name} has width 1, got {width!r}"
        )
