"""A plain network: a stem and four stages of two 3x3 convolutions each, without shortcuts.

Simonyan and Zisserman 2015 (arXiv:1409.1556) with batch normalization and strides in place of
pooling. Dilation (output_stride 16 and 8) samples the same function more densely, as in
`mobilenet`.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from backbones.base import Backbone, check_output_stride
from backbones.features import FeatureSpec
from backbones.initialization import initialize
from backbones.preprocessing import IMAGENET_PAPER
from backbones.width import check_width, scale_channels

_STEM_CHANNELS = 32
_STAGE_CHANNELS = (64, 128, 256, 512)


def _convolution(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PlainNet(Backbone):
    """See the module's text. Raises ValueError for a width or an output stride that is none."""

    def __init__(self, *, width: float = 1.0, output_stride: int = 32) -> None:
        super().__init__()
        check_width(width)
        check_output_stride(output_stride)
        self.architecture = "plain_net"
        self.width = float(width)
        self.output_stride = output_stride
        self.preprocessing = IMAGENET_PAPER

        channels = [scale_channels(wide, width) for wide in (_STEM_CHANNELS, *_STAGE_CHANNELS)]
        self.stem = _convolution(3, channels[0], stride=2)
        self.stages = nn.ModuleList()
        current, dilation, strides = 2, 1, []
        for inputs, outputs in pairwise(channels):
            stride, before = 2, dilation
            if current * stride > output_stride:
                stride, dilation = 1, dilation * 2
            current *= stride
            strides.append(current)
            self.stages.append(
                nn.Sequential(
                    _convolution(inputs, outputs, stride=stride, dilation=before),
                    _convolution(outputs, outputs, dilation=dilation),
                )
            )
        self.features = FeatureSpec(channels=tuple(channels[1:]), strides=tuple(strides))
        initialize(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5, each (B, channels[i], H / strides[i], W / strides[i])."""
        x = self.stem(x)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return tuple(levels)

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters of the stem and of the first `stage` (0..4) stages."""
        parts = (self.stem, *self.stages[:stage])
        return [parameter for part in parts for parameter in part.parameters()]
