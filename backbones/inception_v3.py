"""Inception-V3 without classifier, on a grid that detection and segmentation can use.

Szegedy et al. 2016 (arXiv:1512.00567), section 6, table 1 and figures 5 to 7; the names of the
parameters, the channels and the numbers are torchvision's `inception_v3`, so its weights load
unchanged (not its `transform_input`, which is preprocessing). The levels are the last map of each
stride: Conv2d_4a_3x3 (4), Mixed_5d (8), Mixed_6e (16), Mixed_7c (32).

The grid. The stem and the reductions are not padded, so the levels lie at offsets of 9, 13, 21 and
37 pixels and have fewer cells than the strides promise: 8 x 8 of 299 pixels. `forward` gives the
common grid instead, with the network as it is: see `alignment`. `classification_features` is the
network without that, in which weights are trained and which classifies.

Dilation (output_stride 16 and 8) samples the same function more densely, as in `resnet`: the
convolutions and poolings that would have strided keep the dilation before, all later ones (the 3x3
averages, too) get the new one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, pad, relu

from backbones.alignment import aligned_levels
from backbones.base import Backbone, check_output_stride
from backbones.catalog import MINIMUM_SIZES, NATIVE_SIZES
from backbones.features import FeatureSpec
from backbones.initialization import initialize
from backbones.preprocessing import IMAGENET_PAPER
from backbones.width import check_width, scale_channels

OFFSETS: tuple[int, ...] = (9, 13, 21, 37)
"""The pixel at which the first cell of each level lies in the network without padding."""

_NAME = "inception_v3"
_AUXILIARY_CELLS = 17  # side of Mixed_6e's map at 299 pixels, for which the auxiliary head is made


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalization (eps 0.001), ReLU."""

    def __init__(self, inputs: int, outputs: int, **arguments: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, bias=False, **arguments)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)), inplace=True)


def dense_average(x: Tensor, dilation: int) -> Tensor:
    """The 3x3 average with zeros beyond the border counted, over cells `dilation` apart.

    x: (B, C, H, W) -> (B, C, H, W). With dilation 1 it is avg_pool2d(x, 3, stride=1, padding=1).
    """
    if dilation == 1:
        return avg_pool2d(x, kernel_size=3, stride=1, padding=1)
    d, (height, width) = dilation, x.shape[-2:]
    x = pad(x, (d, d, d, d))
    x = x[..., :width] + x[..., d : d + width] + x[..., 2 * d :]
    x = x[..., :height, :] + x[..., d : d + height, :] + x[..., 2 * d :, :]
    return x / 9


class _Mixed(nn.Module):
    """What the Inception modules share: making a convolution at the module's dilation."""

    def __init__(self, width: float, dilation: int) -> None:
        super().__init__()
        self.width, self.dilation = width, dilation

    def _conv(
        self, inputs: int, channels: int, kernel: int | tuple[int, int] = 1, *, inside: bool = False
    ) -> BasicConv2d:
        """A padded convolution of stride 1. channels: at width 1; `inputs` are scaled already,
        unless they come from `inside` the module."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        return BasicConv2d(
            scale_channels(inputs, self.width) if inside else inputs,
            scale_channels(channels, self.width),
            kernel_size=(height, width),
            padding=(height // 2 * self.dilation, width // 2 * self.dilation),
            dilation=self.dilation,
        )

    def _reducing(
        self, inputs: int, channels: int, stride: int, *, inside: bool = False
    ) -> BasicConv2d:
        """An unpadded 3x3 convolution that strides, or is followed by more dilation."""
        return BasicConv2d(
            scale_channels(inputs, self.width) if inside else inputs,
            scale_channels(channels, self.width),
            kernel_size=3,
            stride=stride,
            dilation=self.dilation,
        )

    def channels(self, *branches: int) -> int:
        """Channels of the concatenation of branches that have these at width 1."""
        return sum(scale_channels(c, self.width) for c in branches)


class InceptionA(_Mixed):
    """Figure 5: 5x5 (two 3x3 in one branch), at stride 8."""

    def __init__(self, inputs: int, pool_features: int, *, width: float) -> None:
        super().__init__(width, dilation=1)
        self.branch1x1 = self._conv(inputs, 64)
        self.branch5x5_1 = self._conv(inputs, 48)
        self.branch5x5_2 = self._conv(48, 64, 5, inside=True)
        self.branch3x3dbl_1 = self._conv(inputs, 64)
        self.branch3x3dbl_2 = self._conv(64, 96, 3, inside=True)
        self.branch3x3dbl_3 = self._conv(96, 96, 3, inside=True)
        self.branch_pool = self._conv(inputs, pool_features)
        self.outputs = self.channels(64, 64, 96, pool_features)

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(dense_average(x, self.dilation)),
        ]
        return torch.cat(branches, 1)


class InceptionB(_Mixed):
    """The reduction from stride 8 to 16 (figure 10)."""

    def __init__(self, inputs: int, *, width: float, stride: int, dilation: int) -> None:
        super().__init__(width, dilation)
        self.branch3x3 = self._reducing(inputs, 384, stride)
        self.branch3x3dbl_1 = self._conv(inputs, 64)
        self.branch3x3dbl_2 = self._conv(64, 96, 3, inside=True)
        self.branch3x3dbl_3 = self._reducing(96, 96, stride, inside=True)
        self.pool = nn.MaxPool2d(3, stride=stride, dilation=dilation)
        self.outputs = self.channels(384, 96) + inputs

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.pool(x),
        ]
        return torch.cat(branches, 1)


class InceptionC(_Mixed):
    """Figure 6: 7x7 as 1x7 and 7x1, at stride 16. inner: channels inside, at width 1."""

    def __init__(self, inputs: int, inner: int, *, width: float, dilation: int) -> None:
        super().__init__(width, dilation)
        self.branch1x1 = self._conv(inputs, 192)
        self.branch7x7_1 = self._conv(inputs, inner)
        self.branch7x7_2 = self._conv(inner, inner, (1, 7), inside=True)
        self.branch7x7_3 = self._conv(inner, 192, (7, 1), inside=True)
        self.branch7x7dbl_1 = self._conv(inputs, inner)
        self.branch7x7dbl_2 = self._conv(inner, inner, (7, 1), inside=True)
        self.branch7x7dbl_3 = self._conv(inner, inner, (1, 7), inside=True)
        self.branch7x7dbl_4 = self._conv(inner, inner, (7, 1), inside=True)
        self.branch7x7dbl_5 = self._conv(inner, 192, (1, 7), inside=True)
        self.branch_pool = self._conv(inputs, 192)
        self.outputs = self.channels(192, 192, 192, 192)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = [
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(dense_average(x, self.dilation)),
        ]
        return torch.cat(branches, 1)


class InceptionD(_Mixed):
    """The reduction from stride 16 to 32."""

    def __init__(self, inputs: int, *, width: float, stride: int, dilation: int) -> None:
        super().__init__(width, dilation)
        self.branch3x3_1 = self._conv(inputs, 192)
        self.branch3x3_2 = self._reducing(192, 320, stride, inside=True)
        self.branch7x7x3_1 = self._conv(inputs, 192)
        self.branch7x7x3_2 = self._conv(192, 192, (1, 7), inside=True)
        self.branch7x7x3_3 = self._conv(192, 192, (7, 1), inside=True)
        self.branch7x7x3_4 = self._reducing(192, 192, stride, inside=True)
        self.pool = nn.MaxPool2d(3, stride=stride, dilation=dilation)
        self.outputs = self.channels(320, 192) + inputs

    def forward(self, x: Tensor) -> Tensor:
        factorized = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        branches = [
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(factorized),
            self.pool(x),
        ]
        return torch.cat(branches, 1)


class InceptionE(_Mixed):
    """Figure 7: 3x3 as 1x3 beside 3x1, at stride 32."""

    def __init__(self, inputs: int, *, width: float, dilation: int) -> None:
        super().__init__(width, dilation)
        self.branch1x1 = self._conv(inputs, 320)
        self.branch3x3_1 = self._conv(inputs, 384)
        self.branch3x3_2a = self._conv(384, 384, (1, 3), inside=True)
        self.branch3x3_2b = self._conv(384, 384, (3, 1), inside=True)
        self.branch3x3dbl_1 = self._conv(inputs, 448)
        self.branch3x3dbl_2 = self._conv(448, 384, 3, inside=True)
        self.branch3x3dbl_3a = self._conv(384, 384, (1, 3), inside=True)
        self.branch3x3dbl_3b = self._conv(384, 384, (3, 1), inside=True)
        self.branch_pool = self._conv(inputs, 192)
        self.outputs = self.channels(320, 384, 384, 384, 384, 192)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(dense_average(x, self.dilation)),
        ]
        return torch.cat(branches, 1)


class InceptionAuxiliary(nn.Module):
    """The auxiliary classifier of training, with torchvision's names (`AuxLogits`).

    Szegedy et al. 2016, section 4 and figure 8. in_channels: of the level that feeds it, C4.
    width: factor on its own channels. Maps smaller than 17 x 17, the size at 299 pixels, are
    averaged to 5 x 5 cells instead of by 5 x 5 windows 3 cells apart, which there is the same.
    """

    def __init__(self, in_channels: int, num_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        inner, outputs = scale_channels(128, width), scale_channels(768, width)
        self.conv0 = BasicConv2d(in_channels, inner, kernel_size=1)
        self.conv1 = BasicConv2d(inner, outputs, kernel_size=5)
        self.fc = nn.Linear(outputs, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, num_classes)."""
        if min(x.shape[-2:]) < _AUXILIARY_CELLS:
            x = adaptive_avg_pool2d(x, 5)
        else:
            x = avg_pool2d(x, kernel_size=5, stride=3)
        logits: Tensor = self.fc(adaptive_avg_pool2d(self.conv1(self.conv0(x)), 1).flatten(1))
        return logits


class InceptionV3(Backbone):
    """Inception-V3; see the module's text.

    width: factor on all channel counts, rounded to multiples of 8. output_stride: 32, or 16 or 8
    with dilated last stages. Weights are those of He et al. 2019 (`initialize`), drawn from
    torch's global generator. Raises ValueError.
    """

    native_size = NATIVE_SIZES[_NAME]
    auxiliary_level = 2

    def __init__(self, *, width: float = 1.0, output_stride: int = 32) -> None:
        super().__init__()
        check_width(width)
        check_output_stride(output_stride)
        self.architecture = _NAME
        self.width = float(width)
        self.output_stride = output_stride
        self.preprocessing = IMAGENET_PAPER

        c32, c64, c80, c192 = (scale_channels(c, width) for c in (32, 64, 80, 192))
        self.Conv2d_1a_3x3 = BasicConv2d(3, c32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(c32, c32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(c32, c64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(c64, c80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(c80, c192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(c192, 32, width=width)
        self.Mixed_5c = InceptionA(self.Mixed_5b.outputs, 64, width=width)
        self.Mixed_5d = InceptionA(self.Mixed_5c.outputs, 64, width=width)
        c3 = self.Mixed_5d.outputs

        stride, dilation = (2, 1) if output_stride >= 16 else (1, 2)
        self.Mixed_6a = InceptionB(c3, width=width, stride=stride, dilation=1)
        c4 = self.Mixed_6a.outputs
        for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            block = InceptionC(c4, inner, width=width, dilation=dilation)
            setattr(self, f"Mixed_{name}", block)
            c4 = block.outputs

        before, stride = dilation, 2 if output_stride == 32 else 1
        dilation *= 2 // stride
        self.Mixed_7a = InceptionD(c4, width=width, stride=stride, dilation=before)
        self.Mixed_7b = InceptionE(self.Mixed_7a.outputs, width=width, dilation=dilation)
        self.Mixed_7c = InceptionE(self.Mixed_7b.outputs, width=width, dilation=dilation)
        self.features = FeatureSpec(
            channels=(c192, c3, c4, self.Mixed_7c.outputs),
            strides=tuple(min(s, output_stride) for s in (4, 8, 16, 32)),
        )
        initialize(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5 on the common grid: cell i at pixel stride * i, sizes rounded up.

        The image is padded with zeros; see `alignment`.
        """
        strides = self.features.strides
        return aligned_levels(self._unpadded, x, strides=strides, offsets=OFFSETS)

    def classification_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5 of the original network, e.g. 71, 35, 17, 8 cells of 299 pixels.

        Raises ValueError for images with a side below 75 pixels, of which C5 would be empty.
        """
        height, width = x.shape[-2:]
        smallest = MINIMUM_SIZES[_NAME]
        if min(height, width) < smallest:
            raise ValueError(
                f"{_NAME} classifies images of at least {smallest} x {smallest} pixels, got "
                f"{height} x {width}: its convolutions are not padded and leave nothing of less"
            )
        return self._unpadded(x)

    def _unpadded(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        c2 = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        c3 = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(c2))))
        c4 = c3
        for name in "abcde":
            c4 = self.get_submodule(f"Mixed_6{name}")(c4)
        c5 = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(c4)))
        return c2, c3, c4, c5

    def auxiliary_head(self, num_classes: int) -> InceptionAuxiliary:
        """The auxiliary classifier on C4, at the network's width, with random weights."""
        return InceptionAuxiliary(self.features.channels[2], num_classes, width=self.width)

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters of the stem (until stride 4) and of the first `stage` (0..4) stages.

        A stage is what makes the level of its stride: Conv2d_3b and 4a, Mixed_5, Mixed_6, Mixed_7.
        """
        prefixes = ["Conv2d_1", "Conv2d_2"]
        for more in (("Conv2d_3", "Conv2d_4"), ("Mixed_5",), ("Mixed_6",), ("Mixed_7",))[:stage]:
            prefixes += more
        return [p for name, p in self.named_parameters() if name.startswith(tuple(prefixes))]
