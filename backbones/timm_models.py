"""Any model of timm that gives feature maps of strides 4, 8, 16 and 32."""

from __future__ import annotations

import copy
import os
from typing import Any

import timm
import torch
from torch import Tensor, nn

from backbones.base import Backbone, check_output_stride
from backbones.catalog import UnknownNameError, nearest
from backbones.features import FeatureSpec
from backbones.hub import offline_when_unreachable
from backbones.preprocessing import Preprocessing
from backbones.weights_file import (
    ImportedWeights,
    WeightsError,
    fit_state_dict,
    read_state_dict,
)

_REDUCTIONS = (4, 8, 16, 32)
_STEM_REDUCTION = 2
# First modules of the models without a level of stride 2 (ConvNeXt; Swin, PVT).
_STEM_NAMES = ("stem", "patch_embed")


class TimmBackbone(Backbone):
    """timm's own feature network (`features_only`) under `body`, with the common interface."""

    def __init__(self, name: str, *, output_stride: int = 32) -> None:
        super().__init__()
        check_output_stride(output_stride)
        check_timm_model(name)
        probe = _create(name, features_only=True)
        info = getattr(probe, "feature_info", None)
        reductions = [] if info is None else [level["reduction"] for level in info.info]
        if not set(_REDUCTIONS) <= set(reductions):
            raise ValueError(
                f"timm:{name} gives feature maps of strides {sorted(set(reductions))}; detection "
                f"and segmentation need {', '.join(map(str, _REDUCTIONS))}"
            )
        wanted = [r for r in (_STEM_REDUCTION, *_REDUCTIONS) if r in reductions]
        indices = tuple(_last_index(reductions, r) for r in wanted)
        self.body = _create(
            name, features_only=True, out_indices=indices, output_stride=output_stride
        )
        self._stem_levels = len(wanted) - len(_REDUCTIONS)
        self._channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self.architecture = f"timm:{name}"
        self.width = 1.0
        self.output_stride = output_stride
        self.features = FeatureSpec(
            channels=tuple(self.body.feature_info.channels()[self._stem_levels :]),
            strides=tuple(self.body.feature_info.reduction()[self._stem_levels :]),
        )
        self.preprocessing = _preprocessing(name, self.body.pretrained_cfg)
        self.native_size = int(self.body.pretrained_cfg["input_size"][-1])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5 as (B, channels, height, width), also for timm's NHWC models."""
        return self._levels(x)[self._stem_levels :]

    def _levels(self, x: Tensor) -> tuple[Tensor, ...]:
        levels = tuple(self.body(x))
        if self._channels_last:
            levels = tuple(level.permute(0, 3, 1, 2).contiguous() for level in levels)
        return levels

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters that the stem's output (stage 0) or the level C(stage + 1) depends on.

        timm's models name and nest their parts in many ways, so autograd is asked. The stem is
        what makes the level of stride 2; where a model has none, its patch embedding.
        """
        own = dict(self.named_parameters())
        if stage == 0 and not self._stem_levels:
            prefixes = tuple(
                f"body.{inner}{stem}" for inner in ("", "model.", "body.") for stem in _STEM_NAMES
            )
            return [parameter for name, parameter in own.items() if name.startswith(prefixes)]
        twin = copy.deepcopy(self).eval().requires_grad_(True)
        parameters = dict(twin.named_parameters())
        size = self.native_size
        image = torch.zeros(1, 3, size, size, device=next(iter(own.values())).device)
        with torch.enable_grad():
            level = twin._levels(image)[stage - 1 + self._stem_levels]
            gradients = torch.autograd.grad(
                level.sum(), list(parameters.values()), allow_unused=True
            )
        return [
            own[name]
            for name, gradient in zip(parameters, gradients, strict=True)
            if gradient is not None
        ]


def timm_backbone(name: str, *, output_stride: int = 32) -> TimmBackbone:
    """timm's model `name` with random weights (timm's own initialization).

    Raises UnknownNameError for a name timm does not have, and ValueError for a model without
    feature maps of strides 4, 8, 16, 32 or, with output_stride 16 or 8, without a dilated form.
    """
    return TimmBackbone(name, output_stride=output_stride)


def import_timm(
    name: str, weights_file: str | os.PathLike[str] | None = None
) -> tuple[TimmBackbone, ImportedWeights]:
    """timm's model `name` with weights from a file or, without one, timm's pretrained (a download).

    The file must fit the *whole* model, classifier included: see `fit_state_dict`. Raises
    WeightsError where it does not, or where nothing can be downloaded; otherwise as
    `timm_backbone`.
    """
    check_timm_model(name)
    if weights_file is None:
        full = _create_pretrained(name)
        imported = ImportedWeights(tensors=len(full.state_dict()), mapping="by name")
    else:
        state = read_state_dict(weights_file)
        full = _create(name, **_classes_of(name, state))
        fitted, mapping = fit_state_dict(
            state, full.state_dict(), source=f"{os.fspath(weights_file)} for timm:{name}"
        )
        full.load_state_dict(fitted, strict=True)
        imported = ImportedWeights(tensors=len(state), mapping=mapping)
    backbone = TimmBackbone(name)
    _copy_weights(full, backbone.body)
    return backbone, imported


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


def _create(name: str, **arguments: Any) -> Any:
    if arguments.get("output_stride") == 32:
        # Models that cannot be dilated do not know the argument.
        del arguments["output_stride"]
    try:
        return timm.create_model(name, pretrained=False, **arguments)
    except (TypeError, AssertionError, RuntimeError, AttributeError) as error:
        if "output_stride" in arguments:
            raise ValueError(
                f"timm:{name} has no dilated form (output_stride {arguments['output_stride']})"
            ) from error
        if "features_only" in arguments:
            raise ValueError(f"timm:{name} gives no feature maps: {error}") from error
        raise


def _create_pretrained(name: str) -> Any:
    if not timm.is_model_pretrained(name):
        raise WeightsError(f"timm has no pretrained weights for {name}: give a file, {name}@FILE")
    try:
        with offline_when_unreachable():
            return timm.create_model(name, pretrained=True)
    # The hub's client raises errors of several libraries where it gets no answer.
    except Exception as error:
        raise WeightsError(
            f"the pretrained weights of timm:{name} could not be downloaded "
            f"({type(error).__name__}). Without a network give a file that you have: "
            f"timm:{name}@FILE"
        ) from error


def _classes_of(name: str, state: dict[str, Tensor]) -> dict[str, int]:
    """The classifier may have any number of classes; the file says how many."""
    config = timm.get_pretrained_cfg(name)
    classifier = config.classifier if config is not None else None
    if isinstance(classifier, (tuple, list)):
        classifier = classifier[0]
    weight = state.get(f"{classifier}.weight")
    return {} if weight is None or not weight.ndim else {"num_classes": weight.shape[0]}


def _copy_weights(full: nn.Module, body: nn.Module) -> None:
    """The feature network is the front of the full one; timm renames `a.0` to `a_0` in it."""
    sources = {name.replace(".", "_"): tensor for name, tensor in full.state_dict().items()}
    state = {}
    for name in body.state_dict():
        plain = name.replace(".", "_")
        candidates = (plain, plain.removeprefix("model_"), plain.removeprefix("body_"))
        source = next((c for c in candidates if c in sources), None)
        assert source is not None, f"timm's feature network has {name}, its full model has not"
        state[name] = sources[source]
    body.load_state_dict(state, strict=True)


def _last_index(reductions: list[int], reduction: int) -> int:
    return max(i for i, r in enumerate(reductions) if r == reduction)


def _preprocessing(name: str, config: dict[str, Any]) -> Preprocessing:
    if config["interpolation"] not in ("bilinear", "bicubic"):
        raise ValueError(
            f"timm:{name} wants {config['interpolation']!r} interpolation; known are bilinear "
            f"and bicubic"
        )
    # On the scale 0..255, without the noise of 0.485 * 255 = 123.67499999999999.
    mean, std = ([round(v * 255, 6) for v in config[key]] for key in ("mean", "std"))
    return Preprocessing(
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=config["interpolation"],
    )
