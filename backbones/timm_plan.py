"""How a model of timm becomes C2..C5: found out from the model itself, without its weights.

timm has more than a thousand models, in some ninety families, and no list says which takes images
of any size, which lies on which grid, which can be dilated. So a twin on torch's meta device
(shapes without numbers, in tenths of a second) is run on some sizes, and what comes out decides:

- maps of strides 4, 8, 16 and 32 are the levels as they are;
- of other strides (a plain ViT, MLP-Mixer or ResMLP has one; LeViT 16, 32, 64) the levels are made
  by resampling the map of the nearest stride (see `resampling`); C5 always is made from the last
  map, so that the classifier, which pools it, sees the whole network;
- a map with fewer cells than its stride promises is on another grid, and is not used;
- images are padded with zeros at the right and bottom to a multiple of what the model asks for: of
  nothing (most), of its patches, of its windows;
- a model that takes no size but its own has a `fixed_size`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from backbones.alignment import aligned_levels
from backbones.base import check_output_stride
from backbones.catalog import UnknownNameError, nearest

STRIDES: tuple[int, ...] = (4, 8, 16, 32)
STEM_STRIDE = 2

# What makes timm's models take images of any size; a model knows one of them or none.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
# Models with convolutions that are not padded: the pixel of each level's first cell, which the
# strides between them give. See `alignment`.
_OFFSETS: dict[str, tuple[int, ...]] = {
    "inception_v3": (9, 13, 21, 37),
    "inception_v4": (5, 13, 21, 37),
    "inception_resnet_v2": (9, 13, 21, 37),
    "legacy_xception": (3, 3, 3, 3),
}
# Where sides need not be multiples of anything, a model is run on a size that no stride divides.
_ODD_TRIAL = (109, 75)
_SMALLEST_TRIAL = 64
# What timm's models raise at sizes and arguments they do not know.
_REFUSALS: tuple[type[Exception], ...] = (
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


@dataclass(frozen=True, kw_only=True)
class TimmPlan:
    """See the module's text.

    arguments: for timm.create_model, beside the name. indices: of timm's feature maps, those that
    are used. normalized: whether the model's last normalization is applied to them. stem: whether
    the first of them is that of stride 2, which is no level. strides: of the maps without it.
    sources: for each of C2..C5 the map it is made from. channels, level_strides: of C2..C5.
    multiple: what the sides of images are padded to. offsets: see `alignment`, None for a padded
    network. fixed_size, native_size: see `Backbone`.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...]
    indices: tuple[int, ...]
    normalized: bool
    stem: bool
    strides: tuple[int, ...]
    sources: tuple[int, ...]
    channels: tuple[int, ...]
    level_strides: tuple[int, ...]
    multiple: int
    offsets: tuple[int, ...] | None
    fixed_size: int | None
    native_size: int

    @property
    def resampled(self) -> bool:
        """Whether some level is not the network's own."""
        own = tuple(self.strides[source] for source in self.sources)
        return own != self.level_strides

    @property
    def plain(self) -> bool:
        """Whether all levels come from one map."""
        return len(self.strides) == 1

    def build(self) -> Any:
        """The feature network, with random weights (timm's own initialization)."""
        return _build(self.name, self.indices, dict(self.arguments), self.normalized)


@lru_cache(maxsize=64)
def plan_timm(name: str, output_stride: int = 32) -> TimmPlan:
    """How timm's model `name` gives C2..C5 at this output stride.

    Raises UnknownNameError for a name that timm does not have, and UnknownLevelsError, with the
    reason in one sentence, for a model that cannot give them or, with output_stride 16 or 8, has no
    dilated form.
    """
    check_output_stride(output_stride)
    check_timm_model(name)
    try:
        return _plan(name, output_stride)
    except UnknownLevelsError:
        raise
    except _REFUSALS as error:
        raise UnknownLevelsError(
            f"timm:{name} cannot give C2..C5, because it does not run on images of its own size "
            f"({_first_line(error)}); use a model of another family"
        ) from error


def check_timm_model(name: str) -> None:
    """Raises UnknownNameError, with the nearest names, where timm has no such model."""
    if not timm.is_model(name):
        close = nearest(name, timm.list_models())
        hint = f"the nearest are {', '.join(close)}" if close else "see timm.list_models()"
        raise UnknownNameError(f"timm {timm.__version__} has no model {name!r}: {hint}")
    architecture, _, tag = name.partition(".")
    if tag and name not in (published := timm.list_pretrained(f"{architecture}.*")):
        close = nearest(name, published)
        hint = f"the nearest are {', '.join(close)}" if close else "none of this model are"
        raise UnknownNameError(f"timm {timm.__version__} has no weights {name!r}: {hint}")


def channels_first(body: Any, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """timm's feature maps as (B, C, H, W), also of models that compute with channels last."""
    if str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC"):
        return tuple(features.permute(0, 3, 1, 2).contiguous() for features in maps)
    return tuple(maps)


def needs_numbers(error: Exception) -> bool:
    """Whether it comes of looking at the numbers of a tensor on the meta device."""
    return "meta tensor" in str(error).lower()


class _Trial:
    """A feature network without numbers, and the shapes of its maps at a size."""

    def __init__(
        self, name: str, indices: tuple[int, ...], arguments: dict[str, Any], *, normalized: bool
    ) -> None:
        with _without_numbers(name):
            self.body = _build(name, indices, arguments, normalized).eval()
        self.name = name

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """Raises one of _REFUSALS."""
        with _without_numbers(self.name):
            return channels_first(self.body, self.body(x))

    def shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(channels, rows, columns) of each map. Raises one of _REFUSALS."""
        maps = self.maps(torch.zeros(1, 3, height, width, device="meta"))
        return [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]


@contextmanager
def _without_numbers(name: str) -> Iterator[None]:
    """Everything that is made is made on the meta device; torch's generator is left alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
            yield
    except _REFUSALS as error:
        if needs_numbers(error):
            raise UnknownLevelsError(
                f"timm:{name} cannot be used, because it looks at numbers where others look at "
                f"shapes, and so cannot be tried without training it; use a model of another family"
            ) from error
        raise


def _plan(name: str, output_stride: int) -> TimmPlan:
    arguments, probe = _flexible(name)
    reductions = _reductions(name, probe)
    native = int(probe.pretrained_cfg["input_size"][-1])
    if set(STRIDES) <= set(reductions):
        return _plan_own_levels(name, output_stride, arguments, reductions, native)
    return _plan_resampled(name, output_stride, arguments, reductions, native)


def _plan_own_levels(
    name: str,
    output_stride: int,
    arguments: dict[str, Any],
    reductions: list[int],
    native: int,
) -> TimmPlan:
    wanted = [r for r in (STEM_STRIDE, *STRIDES) if r in reductions]
    stem = len(wanted) > len(STRIDES)
    indices = tuple(_last_index(reductions, r) for r in wanted)
    if output_stride != 32:
        # Models that cannot be dilated do not know the argument.
        arguments = {**arguments, "output_stride": output_stride}
    try:
        trial = _Trial(name, indices, arguments, normalized=False)
    except _REFUSALS as error:
        if output_stride == 32 or isinstance(error, UnknownLevelsError):
            raise
        raise _no_dilated_form(name, output_stride) from error
    strides = tuple(min(s, output_stride) for s in STRIDES)
    offsets = _OFFSETS.get(name.partition(".")[0])
    try:
        if offsets is None:
            sizes = _sizes(trial, strides, native, stem=stem)
        else:
            sizes = _unpadded_sizes(trial, strides, offsets, stem=stem)
    except _OffGridError as error:
        if output_stride != 32 or offsets is not None:
            raise _no_dilated_form(name, output_stride) from error
        # Some maps are on another grid: those that are not can be resampled.
        return _plan_resampled(name, output_stride, arguments, reductions, native)
    return TimmPlan(
        name=name,
        arguments=tuple(arguments.items()),
        indices=indices,
        normalized=False,
        stem=stem,
        strides=strides,
        sources=(0, 1, 2, 3),
        channels=sizes.channels,
        level_strides=strides,
        multiple=sizes.multiple,
        offsets=offsets,
        fixed_size=sizes.fixed,
        native_size=native,
    )


def _plan_resampled(
    name: str,
    output_stride: int,
    arguments: dict[str, Any],
    reductions: list[int],
    native: int,
) -> TimmPlan:
    if reductions[-1] > 16 and output_stride < 32 and len(set(reductions)) > 1:
        raise _no_dilated_form(name, output_stride)
    # Of each stride the last map; without maps of strides 1 and 2, which no level is made from.
    kept = {r: i for i, r in enumerate(reductions) if r > STEM_STRIDE}
    strides, indices = tuple(kept), tuple(kept.values())
    normalized = len(strides) == 1
    trial = _Trial(name, indices, arguments, normalized=normalized)
    on_grid = _on_grid(trial.shapes(native, native), strides, native)
    if not on_grid[-1]:
        raise UnknownLevelsError(
            f"timm:{name} cannot give C2..C5, because its last feature map is not on the grid of "
            f"the image (strides {sorted(set(reductions))}); use a model of another family"
        )
    strides = tuple(s for s, fits in zip(strides, on_grid, strict=True) if fits)
    indices = tuple(i for i, fits in zip(indices, on_grid, strict=True) if fits)
    if list(strides) != sorted(strides):
        raise UnknownLevelsError(
            f"timm:{name} cannot give C2..C5, because its feature maps do not go from fine to "
            f"coarse (strides {list(strides)}); use a model of another family"
        )
    trial = _Trial(name, indices, arguments, normalized=normalized)
    sizes = _sizes(trial, strides, native, stem=False)
    level_strides = tuple(min(s, output_stride) for s in STRIDES)
    nearest_ones = (_nearest_stride(strides, s) for s in level_strides[:-1])
    sources = (*nearest_ones, len(strides) - 1)
    return TimmPlan(
        name=name,
        arguments=tuple(arguments.items()),
        indices=indices,
        normalized=normalized,
        stem=False,
        strides=strides,
        sources=sources,
        channels=tuple(sizes.channels[source] for source in sources),
        level_strides=level_strides,
        multiple=sizes.multiple,
        offsets=None,
        fixed_size=sizes.fixed,
        native_size=native,
    )


class _OffGridError(Exception):
    """At its own size the model gives maps that are not on the grid of the image."""


@dataclass(frozen=True)
class _Sizes:
    """Which sizes a model takes, a multiple or one `fixed`, and the channels of its maps."""

    multiple: int
    fixed: int | None
    channels: tuple[int, ...]


def _sizes(trial: _Trial, strides: Sequence[int], native: int, *, stem: bool) -> _Sizes:
    """The least multiple of sides that the model takes and maps on the grid, or its native size.

    Raises _OffGridError where not even the native size is mapped on the grid.
    """
    for multiple in sorted({1, strides[0], strides[-1], 32, 64, native}):
        channels = _channels(trial, strides, _trial_size(multiple), stem=stem)
        if channels is not None:
            return _Sizes(multiple, None, channels)
    channels = _channels(trial, strides, (native, native), stem=stem)
    if channels is None:
        raise _OffGridError
    return _Sizes(1, native, channels)


def _trial_size(multiple: int) -> tuple[int, int]:
    """Not square, not the model's own, and with one side an odd multiple."""
    if multiple == 1:
        return _ODD_TRIAL
    odd = math.ceil(_SMALLEST_TRIAL / multiple) // 2 * 2 + 1
    return multiple * odd, multiple * (odd + 1)


def _channels(
    trial: _Trial, strides: Sequence[int], size: tuple[int, int], *, stem: bool
) -> tuple[int, ...] | None:
    """Of each map, where the model takes images of this size and maps them on the grid."""
    try:
        shapes = trial.shapes(*size)[stem:]
    except UnknownLevelsError:
        raise
    except _REFUSALS:
        return None
    grid = [tuple(math.ceil(side / s) for side in size) for s in strides]
    if [shape[1:] for shape in shapes] != grid:
        return None
    return tuple(shape[0] for shape in shapes)


def _unpadded_sizes(
    trial: _Trial, strides: Sequence[int], offsets: Sequence[int], *, stem: bool
) -> _Sizes:
    """Any size, if the offsets are the model's. Raises _OffGridError where they are not."""
    height, width = _ODD_TRIAL
    image = torch.zeros(1, 3, height, width, device="meta")
    try:
        levels = aligned_levels(
            lambda x: trial.maps(x)[stem:], image, strides=strides, offsets=offsets
        )
    except _REFUSALS as error:
        raise _OffGridError from error
    grid = [(math.ceil(height / s), math.ceil(width / s)) for s in strides]
    if [tuple(level.shape[-2:]) for level in levels] != grid:
        raise _OffGridError
    return _Sizes(1, None, tuple(level.shape[1] for level in levels))


def _on_grid(
    shapes: Sequence[tuple[int, int, int]], strides: Sequence[int], native: int
) -> list[bool]:
    return [
        rows == columns == math.ceil(native / stride)
        for (_, rows, columns), stride in zip(shapes, strides, strict=True)
    ]


def _flexible(name: str) -> tuple[dict[str, Any], Any]:
    """The model's argument for images of any size, if it knows one, and its feature network."""
    for arguments in _ANY_SIZE:
        try:
            with _without_numbers(name):
                return arguments, timm.create_model(name, features_only=True, **arguments)
        except UnknownLevelsError:
            raise
        except _REFUSALS as error:
            if not arguments:
                raise UnknownLevelsError(
                    f"timm:{name} cannot give C2..C5, because timm takes no feature maps out of "
                    f"it ({_first_line(error)}); use a model of another family"
                ) from error
    raise AssertionError("the last of _ANY_SIZE returns or raises")


def _reductions(name: str, probe: Any) -> list[int]:
    """The strides of timm's feature maps; 0 for one that timm knows of and cannot give."""
    info = getattr(probe, "feature_info", None)
    levels = [] if info is None else info.info
    reductions = [level["reduction"] if level.get("module") else 0 for level in levels]
    if not any(reductions) or any(not isinstance(r, int) for r in reductions):
        raise UnknownLevelsError(
            f"timm:{name} cannot give C2..C5, because timm knows no strides of its feature maps "
            f"(says {reductions}); use a model of another family"
        )
    return reductions


def _build(name: str, indices: tuple[int, ...], arguments: dict[str, Any], normalized: bool) -> Any:
    if normalized:
        model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
        if hasattr(model, "forward_intermediates"):
            body = FeatureGetterNet(model, out_indices=list(indices), norm=True)
            body.pretrained_cfg = model.pretrained_cfg
            return body
    return timm.create_model(
        name, pretrained=False, features_only=True, out_indices=indices, **arguments
    )


def _no_dilated_form(name: str, output_stride: int) -> UnknownLevelsError:
    return UnknownLevelsError(
        f"timm:{name} has no dilated form (output_stride {output_stride}): segmentation with FCN "
        f"needs one; use a model that has it (a ResNet, an EfficientNet) or a plain one (a ViT)"
    )


def _nearest_stride(strides: Sequence[int], wanted: int) -> int:
    """The index of the stride nearest in proportion; of two equally near, the coarser."""
    return min(range(len(strides)), key=lambda i: (abs(math.log2(strides[i] / wanted)), -i))


def _last_index(reductions: list[int], reduction: int) -> int:
    return max(i for i, r in enumerate(reductions) if r == reduction)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
