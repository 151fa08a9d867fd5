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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm

from backbones.base import check_output_stride
from backbones.catalog import UnknownNameError, nearest
from backbones.timm_trial import (
    REFUSALS,
    OffGridError,
    Trial,
    UnknownLevelsError,
    build_features,
    find_sizes,
    find_unpadded_sizes,
    first_line,
    without_numbers,
)

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
        return build_features(self.name, self.indices, dict(self.arguments), self.normalized)


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
    except REFUSALS as error:
        raise UnknownLevelsError(
            f"timm:{name} cannot give C2..C5, because it does not run on images of its own size "
            f"({first_line(error)}); use a model of another family"
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
        trial = Trial(name, indices, arguments, normalized=False)
    except REFUSALS as error:
        if output_stride == 32 or isinstance(error, UnknownLevelsError):
            raise
        raise _no_dilated_form(name, output_stride) from error
    strides = tuple(min(s, output_stride) for s in STRIDES)
    offsets = _OFFSETS.get(name.partition(".")[0])
    try:
        if offsets is None:
            sizes = find_sizes(trial, strides, native, stem=stem)
        else:
            sizes = find_unpadded_sizes(trial, strides, offsets, stem=stem)
    except OffGridError as error:
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
    trial = Trial(name, indices, arguments, normalized=normalized)
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
    trial = Trial(name, indices, arguments, normalized=normalized)
    sizes = find_sizes(trial, strides, native, stem=False)
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
            with without_numbers(name):
                return arguments, timm.create_model(name, features_only=True, **arguments)
        except UnknownLevelsError:
            raise
        except REFUSALS as error:
            if not arguments:
                raise UnknownLevelsError(
                    f"timm:{name} cannot give C2..C5, because timm takes no feature maps out of "
                    f"it ({first_line(error)}); use a model of another family"
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
