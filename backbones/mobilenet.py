"""MobileNet-V1 without classifier.

Howard et al. 2017 (arXiv:1704.04861), section 3, table 1: a 3x3 convolution and 13 pairs of a
depthwise 3x3 and a 1x1 convolution, each followed by batch normalization and ReLU (figure 3; the
authors' later code, and timm, clip it at 6). Names of parameters are those of timm's
`mobilenetv1_100`, so that its weights load unchanged.

Dilation (output_stride 16 and 8) samples the same function more densely, as in `resnet`: the
depthwise convolution that would have strided keeps the dilation before, later ones get the new one.
"""

from __future__ import annotations

from torch import Tensor, nn

from backbones.base import Backbone, check_output_stride
from backbones.features import FeatureSpec
from backbones.initialization import initialize
from backbones.preprocessing import IMAGENET_PAPER
from backbones.width import check_width, scale_channels

_STEM_CHANNELS = 32
# Table 1 by resolution: channels and number of the pairs, the first of which strides.
_STEM_PAIRS = (64, 1, 1)
_STAGES = ((128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


class DepthwiseSeparable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(
            inputs,
            inputs,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=inputs,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv_dw(x)))
        out: Tensor = self.relu(self.bn2(self.conv_pw(x)))
        return out


class MobileNet(Backbone):
    """MobileNet-V1; see the module's text.

    width: the paper's width multiplier, channels rounded to multiples of 8. output_stride: 32, or
    16 or 8 with dilated last stages. Weights are those of He et al. 2019 (`initialize`), drawn
    from torch's global generator. Raises ValueError.
    """

    def __init__(self, *, width: float = 1.0, output_stride: int = 32) -> None:
        super().__init__()
        check_width(width)
        check_output_stride(output_stride)
        self.architecture = "mobilenet"
        self.width = float(width)
        self.output_stride = output_stride
        self.preprocessing = IMAGENET_PAPER

        inputs = scale_channels(_STEM_CHANNELS, width)
        self.conv_stem = nn.Conv2d(3, inputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        stages: list[nn.Module] = []
        channels: list[int] = []
        strides: list[int] = []
        current_stride, dilation = 2, 1
        for stage_channels, pairs, stride in (_STEM_PAIRS, *_STAGES):
            first_dilation = dilation
            if current_stride * stride > output_stride:
                dilation, stride = dilation * stride, 1
            current_stride *= stride
            outputs = scale_channels(stage_channels, width)
            layers = [
                DepthwiseSeparable(
                    outputs if i else inputs,
                    outputs,
                    stride=1 if i else stride,
                    dilation=dilation if i else first_dilation,
                )
                for i in range(pairs)
            ]
            stages.append(nn.Sequential(*layers))
            channels.append(outputs)
            strides.append(current_stride)
            inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.features = FeatureSpec(channels=tuple(channels[1:]), strides=tuple(strides[1:]))
        initialize(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5, each (B, channels[i], H / strides[i], W / strides[i]).

        Sizes that the stride does not divide are rounded up.
        """
        x = self.blocks[0](self.relu(self.bn1(self.conv_stem(x))))
        levels = []
        for stage in self.blocks[1:]:
            x = stage(x)
            levels.append(x)
        return tuple(levels)

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters of the stem (stride 2) and of the first `stage` (0..4) stages."""
        parts = (self.conv_stem, self.bn1, *self.blocks[: stage + 1])
        return [parameter for part in parts for parameter in part.parameters()]
