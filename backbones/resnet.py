"""ResNet-A, -B, -C and -D, 18 to 152 layers, without classifier.

He et al. 2019 (arXiv:1812.01187), section 4, figures 1 and 2:
  a  the original network (He et al., CVPR 2016): a stage's first block strides in its first 1x1;
  b  strides in the 3x3 instead, so that no input is skipped (torchvision's ResNet);
  c  b, and the 7x7 of the stem becomes three 3x3 (32, 32, 64 channels; the first strides);
  d  c, and the shortcut's strided 1x1 becomes a 2x2 average pooling and a 1x1 of stride 1.
Blocks of the 18- and 34-layer networks have no 1x1 in front: there a and b are the same network.

Names of parameters are torchvision's for b and timm's for d, so their weights load unchanged.

Dilation (output_stride 16 and 8) makes a stage's stride 1 and spreads what follows. It is done so
that the dilated network is the *same function*, sampled more densely: its output at every second
(fourth) cell is the strided network's output. Hence the convolution that would have strided keeps
the dilation of the stage before and all later ones get the new one. For b that is torchvision's
`replace_stride_with_dilation`. The 2x2 average of d's shortcut stays and takes cells as far apart
as they were. Others differ there, with the same weights: timm averages zeros in at the border and
neighbours at output_stride 8, OpenMMLab drops the average.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from backbones.base import Backbone, check_output_stride
from backbones.catalog import DEPTHS, VARIANTS, UnknownNameError
from backbones.features import FeatureSpec
from backbones.initialization import initialize, zero_gamma
from backbones.preprocessing import IMAGENET_PAPER
from backbones.width import check_width, scale_channels

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "initialize", "zero_gamma"]

_BLOCKS_PER_STAGE = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_STAGE_CHANNELS = (64, 128, 256, 512)


class DenseAveragePool(nn.Module):
    """The 2x2 average of ResNet-D's shortcut where a dilated stage does not stride.

    Averages the cells 0 and `dilation` further right and down. As in the strided pooling
    (ceil_mode, count_include_pad=False), cells beyond the border do not count.
    """

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        d = self.dilation
        x = torch.cat([(x[..., :-d] + x[..., d:]) / 2, x[..., -d:]], dim=-1)
        return torch.cat([(x[..., :-d, :] + x[..., d:, :]) / 2, x[..., -d:, :]], dim=-2)

    def extra_repr(self) -> str:
        return f"dilation={self.dilation}"


def _conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


def _conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


def _shortcut(
    variant: str, inputs: int, outputs: int, *, stride: int, dilated_from: int | None
) -> nn.Sequential:
    """The projection of a stage's first block; `dilated_from`: see `_stage`."""
    if variant != "d":
        return nn.Sequential(_conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    pool: nn.Module = nn.Identity()
    if dilated_from is not None:
        pool = DenseAveragePool(dilated_from)
    elif stride > 1:
        pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(pool, _conv1x1(inputs, outputs), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, of ResNet-18 and -34.

    drop_path: what the residual branch goes through before the addition (timm's name and place).
    """

    expansion = 1

    def __init__(
        self,
        variant: str,
        inputs: int,
        channels: int,
        *,
        stride: int,
        first_dilation: int,
        dilation: int,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, channels, stride, first_dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, 1, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.drop_path(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(x.add_(shortcut))  # in place, as timm does: nothing else reads x
        return out

    def zero_init_last(self) -> None:
        """Gamma of the last normalization becomes 0 (timm's name for it)."""
        nn.init.zeros_(self.bn2.weight)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, of ResNet-50 and deeper; drop_path: see `BasicBlock`."""

    expansion = 4

    def __init__(
        self,
        variant: str,
        inputs: int,
        channels: int,
        *,
        stride: int,
        first_dilation: int,
        dilation: int,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        # Behind a's strided 1x1 the 3x3 already works on the coarser grid, so it is dilated.
        first_stride, second_stride = (stride, 1) if variant == "a" else (1, stride)
        middle_dilation = dilation if variant == "a" else first_dilation
        self.conv1 = _conv1x1(inputs, channels, first_stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, second_stride, middle_dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _conv1x1(channels, channels * self.expansion)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.drop_path(self.bn3(self.conv3(x)))
        out: Tensor = self.relu(x.add_(shortcut))  # in place, as timm does: nothing else reads x
        return out

    def zero_init_last(self) -> None:
        """Gamma of the last normalization becomes 0 (timm's name for it)."""
        nn.init.zeros_(self.bn3.weight)


Block = BasicBlock | Bottleneck


class ResNet(Backbone):
    """A ResNet of `depth` layers in one of the four variants; see the module's text.

    depth: 18, 34, 50, 101 or 152. variant: "a", "b", "c" or "d". width: factor on all channel
    counts, rounded to multiples of 8. output_stride: 32, or 16 or 8 with dilated last stages.
    Weights are the paper's initialization, drawn from torch's global generator. Raises ValueError.
    """

    def __init__(
        self, depth: int, variant: str, *, width: float = 1.0, output_stride: int = 32
    ) -> None:
        super().__init__()
        if depth not in DEPTHS or variant not in VARIANTS:
            raise UnknownNameError(
                f"no ResNet of depth {depth!r} and variant {variant!r}: depths are "
                f"{', '.join(map(str, DEPTHS))}, variants {', '.join(VARIANTS)}"
            )
        check_width(width)
        check_output_stride(output_stride)
        self.architecture = f"resnet{depth}{variant}"
        self.width = float(width)
        self.output_stride = output_stride
        self.preprocessing = IMAGENET_PAPER

        stem = scale_channels(64, width)
        if variant in ("c", "d"):
            half = scale_channels(32, width)
            self.conv1: nn.Module = nn.Sequential(
                _conv3x3(3, half, stride=2),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
                _conv3x3(half, half),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
                _conv3x3(half, stem),
            )
        else:
            self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        block = Bottleneck if depth >= 50 else BasicBlock
        inputs, current_stride, dilation = stem, 4, 1
        channels: list[int] = []
        strides: list[int] = []
        for i, blocks in enumerate(_BLOCKS_PER_STAGE[depth]):
            stride, dilated_from = (1 if i == 0 else 2), None
            if current_stride * stride > output_stride:
                dilated_from, dilation, stride = dilation, dilation * stride, 1
            planes = scale_channels(_STAGE_CHANNELS[i], width)
            stage = _stage(block, variant, inputs, planes, blocks, stride, dilation, dilated_from)
            setattr(self, f"layer{i + 1}", stage)
            inputs = planes * block.expansion
            current_stride *= stride
            channels.append(inputs)
            strides.append(current_stride)
        self.features = FeatureSpec(channels=tuple(channels), strides=tuple(strides))
        initialize(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2, C3, C4, C5, each (B, channels[i], H / strides[i], W / strides[i]).

        Sizes that the stride does not divide are rounded up.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return tuple(levels)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """layer1 to layer4."""
        return tuple(self.get_submodule(f"layer{i}") for i in range(1, 5))

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters of the stem and of the first `stage` (0..4) stages."""
        parts = (self.conv1, self.bn1, *self.stages[:stage])
        return [parameter for part in parts for parameter in part.parameters()]


def _stage(
    block: Callable[..., Block],
    variant: str,
    inputs: int,
    channels: int,
    blocks: int,
    stride: int,
    dilation: int,
    dilated_from: int | None,
) -> nn.Sequential:
    """One stage. dilated_from: the dilation before it, if dilation took this stage's stride."""
    outputs = channels * block.expansion  # type: ignore[attr-defined]
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = _shortcut(variant, inputs, outputs, stride=stride, dilated_from=dilated_from)
    first_dilation = dilation if dilated_from is None else dilated_from
    layers: list[nn.Module] = [
        block(
            variant,
            inputs,
            channels,
            stride=stride,
            first_dilation=first_dilation,
            dilation=dilation,
            downsample=downsample,
        )
    ]
    for _ in range(1, blocks):
        layers.append(
            block(
                variant,
                outputs,
                channels,
                stride=1,
                first_dilation=dilation,
                dilation=dilation,
                downsample=None,
            )
        )
    return nn.Sequential(*layers)
