"""A timm model's twin without numbers, and what it says of sizes: see `timm_plan`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from backbones.alignment import aligned_levels

# Where sides need not be multiples of anything, a model is run on a size that no stride divides.
_ODD_TRIAL = (109, 75)
_SMALLEST_TRIAL = 64
# What timm's models raise at sizes and arguments they do not know.
REFUSALS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class UnknownLevelsError(ValueError):
    """A model of which C2..C5 cannot be had."""


def channels_first(body: Any, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """timm's feature maps as (B, C, H, W), also of models that compute with channels last."""
    if str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC"):
        return tuple(features.permute(0, 3, 1, 2).contiguous() for features in maps)
    return tuple(maps)


def needs_numbers(error: Exception) -> bool:
    """Whether it comes of looking at the numbers of a tensor on the meta device."""
    return "meta tensor" in str(error).lower()


class Trial:
    """A feature network without numbers, and the shapes of its maps at a size."""

    def __init__(
        self, name: str, indices: tuple[int, ...], arguments: dict[str, Any], *, normalized: bool
    ) -> None:
        with without_numbers(name):
            self.body = build_features(name, indices, arguments, normalized).eval()
        self.name = name

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """Raises one of REFUSALS."""
        with without_numbers(self.name):
            return channels_first(self.body, self.body(x))

    def shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(channels, rows, columns) of each map. Raises one of REFUSALS."""
        maps = self.maps(torch.zeros(1, 3, height, width, device="meta"))
        return [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]


@contextmanager
def without_numbers(name: str) -> Iterator[None]:
    """Everything that is made is made on the meta device; torch's generator is left alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
            yield
    except REFUSALS as error:
        if needs_numbers(error):
            raise UnknownLevelsError(
                f"timm:{name} cannot be used, because it looks at numbers where others look at "
                f"shapes, and so cannot be tried without training it; use a model of another family"
            ) from error
        raise


class OffGridError(Exception):
    """At its own size the model gives maps that are not on the grid of the image."""


@dataclass(frozen=True)
class Sizes:
    """Which sizes a model takes, a multiple or one `fixed`, and the channels of its maps."""

    multiple: int
    fixed: int | None
    channels: tuple[int, ...]


def find_sizes(trial: Trial, strides: Sequence[int], native: int, *, stem: bool) -> Sizes:
    """The least multiple of sides that the model takes and maps on the grid, or its native size.

    Raises OffGridError where not even the native size is mapped on the grid.
    """
    for multiple in sorted({1, strides[0], strides[-1], 32, 64, native}):
        channels = _channels(trial, strides, _trial_size(multiple), stem=stem)
        if channels is not None:
            return Sizes(multiple, None, channels)
    channels = _channels(trial, strides, (native, native), stem=stem)
    if channels is None:
        raise OffGridError
    return Sizes(1, native, channels)


def _trial_size(multiple: int) -> tuple[int, int]:
    """Not square, not the model's own, and with one side an odd multiple."""
    if multiple == 1:
        return _ODD_TRIAL
    odd = math.ceil(_SMALLEST_TRIAL / multiple) // 2 * 2 + 1
    return multiple * odd, multiple * (odd + 1)


def _channels(
    trial: Trial, strides: Sequence[int], size: tuple[int, int], *, stem: bool
) -> tuple[int, ...] | None:
    """Of each map, where the model takes images of this size and maps them on the grid."""
    try:
        shapes = trial.shapes(*size)[stem:]
    except UnknownLevelsError:
        raise
    except REFUSALS:
        return None
    grid = [tuple(math.ceil(side / s) for side in size) for s in strides]
    if [shape[1:] for shape in shapes] != grid:
        return None
    return tuple(shape[0] for shape in shapes)


def find_unpadded_sizes(
    trial: Trial, strides: Sequence[int], offsets: Sequence[int], *, stem: bool
) -> Sizes:
    """Any size, if the offsets are the model's. Raises OffGridError where they are not."""
    height, width = _ODD_TRIAL
    image = torch.zeros(1, 3, height, width, device="meta")
    try:
        levels = aligned_levels(
            lambda x: trial.maps(x)[stem:], image, strides=strides, offsets=offsets
        )
    except REFUSALS as error:
        raise OffGridError from error
    grid = [(math.ceil(height / s), math.ceil(width / s)) for s in strides]
    if [tuple(level.shape[-2:]) for level in levels] != grid:
        raise OffGridError
    return Sizes(1, None, tuple(level.shape[1] for level in levels))


def build_features(
    name: str, indices: tuple[int, ...], arguments: dict[str, Any], normalized: bool
) -> Any:
    """timm's feature network with random weights; see `TimmPlan` for the arguments."""
    if normalized:
        model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
        if hasattr(model, "forward_intermediates"):
            body = FeatureGetterNet(model, out_indices=list(indices), norm=True)
            body.pretrained_cfg = model.pretrained_cfg
            return body
    return timm.create_model(
        name, pretrained=False, features_only=True, out_indices=indices, **arguments
    )


def first_line(error: Exception) -> str:
    """Of an error's text; its name where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
