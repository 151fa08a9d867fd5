"""What every backbone is: an nn.Module that gives C2..C5 and can say what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from backbones.features import FeatureSpec
from backbones.preprocessing import Preprocessing

if TYPE_CHECKING:
    from backbones.card import Card

OUTPUT_STRIDES: tuple[int, ...] = (8, 16, 32)


class Backbone(nn.Module):
    """Base of all backbones.

    architecture, width, output_stride: the arguments of `create_backbone` that make it again.
    features: channels and strides of what forward returns. preprocessing: what its input went
    through. native_size: side in pixels of the square images that the architecture is designed
    for. fixed_size: side of the only images that it takes, None where it takes any. card: of the
    artifact that it was loaded from, if any. auxiliary_level: index of the level that feeds an
    auxiliary classifier in training, None where the architecture has none. input_channels: of the
    images, changed by `set_input_channels` alone.
    """

    architecture: str
    width: float
    output_stride: int
    features: FeatureSpec
    preprocessing: Preprocessing
    native_size: int = 224
    fixed_size: int | None = None
    auxiliary_level: int | None = None
    card: Card | None = None
    input_channels: int = 3

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5, each (B, channels[i], H / strides[i], W / strides[i]).

        Sizes that the stride does not divide are rounded up. Raises ValueError for an image of
        another size than `fixed_size`, where there is one.
        """
        raise NotImplementedError

    def classification_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The levels as the classifier sees them, which pools the last: of (B, 3, H, W).

        The same as forward, except where the original network lies on another grid than the
        detector's. Channels are those of `features`. Raises ValueError for images too small.
        """
        levels: tuple[Tensor, ...] = self(x)
        return levels

    def auxiliary_head(self, num_classes: int) -> nn.Module:
        """The auxiliary classifier: level `auxiliary_level` of `classification_features` to logits.

        Raises ValueError where the architecture has none.
        """
        raise ValueError(f"{self.architecture} has no auxiliary classifier")

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters of the stem (stage 0), or of the stem and the first 1..4 stages."""
        raise NotImplementedError


def check_output_stride(output_stride: int) -> None:
    """Raises ValueError for anything but 8, 16 and 32."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output_stride is 8, 16 or 32, got {output_stride!r}")
