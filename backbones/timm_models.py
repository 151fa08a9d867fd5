"""Any model of timm, by name, with the common interface."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, group_parameters
from torch import Tensor, nn
from torch.nn.functional import pad

from backbones.alignment import aligned_levels
from backbones.base import Backbone
from backbones.features import FeatureSpec
from backbones.hub import offline_when_unreachable, one_line, where_to_get
from backbones.preprocessing import Preprocessing
from backbones.resampling import resample
from backbones.timm_plan import check_timm_model, plan_timm
from backbones.timm_trial import channels_first
from backbones.weights_file import (
    ImportedWeights,
    WeightsError,
    fit_state_dict,
    read_weights_file,
    without_prefixes,
)

# First modules of the models without a level of stride 2 (ConvNeXt; Swin, PVT).
_STEM_NAMES = ("stem", "patch_embed")


class TimmBackbone(Backbone):
    """timm's own feature network under `body`, with the common interface.

    plan: which of its maps become C2..C5, and how; see `timm_plan`. Raises ValueError for a model
    that cannot give them, UnknownNameError for one that timm does not have.
    """

    def __init__(self, name: str, *, output_stride: int = 32) -> None:
        super().__init__()
        self.plan = plan_timm(name, output_stride)
        self.body = self.plan.build()
        self.architecture = f"timm:{name}"
        self.width = 1.0
        self.output_stride = output_stride
        self.features = FeatureSpec(channels=self.plan.channels, strides=self.plan.level_strides)
        self.preprocessing = timm_preprocessing(name, self.body.pretrained_cfg)
        self.native_size = self.plan.native_size
        self.fixed_size = self.plan.fixed_size

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> C2..C5 as (B, channels, height, width), also for timm's NHWC models.

        Sizes that the stride does not divide are rounded up. Raises ValueError for another size
        than `fixed_size`, where there is one.
        """
        plan = self.plan
        if plan.offsets is not None:
            return aligned_levels(self._maps, x, strides=plan.strides, offsets=plan.offsets)
        maps, sides = self._maps(self._padded(x)), x.shape[-2:]
        return tuple(
            resample(
                maps[source],
                stride=plan.strides[source],
                target=target,
                cells=(math.ceil(sides[0] / target), math.ceil(sides[1] / target)),
            )
            for source, target in zip(plan.sources, plan.level_strides, strict=True)
        )

    def classification_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The network's own maps in the order of C2..C5, without padding and resampling of C5.

        Where levels are resampled, each is the map that it is made from. Raises ValueError for
        another size than `fixed_size`, or one too small for the model.
        """
        plan = self.plan
        if plan.offsets is None and not plan.resampled:
            return super().classification_features(x)
        if plan.offsets is None:
            maps = self._maps(self._padded(x))
        else:
            try:
                maps = self._maps(x)
            except RuntimeError as error:
                height, width = x.shape[-2:]
                raise ValueError(
                    f"{self.architecture} cannot classify images of {height} x {width} pixels, "
                    f"because its convolutions are not padded and leave nothing of so few; it is "
                    f"made for {self.native_size} x {self.native_size}"
                ) from error
        return tuple(maps[source] for source in plan.sources)

    def _padded(self, x: Tensor) -> Tensor:
        """The image with zeros at the right and bottom, to a size that the model takes."""
        height, width = x.shape[-2:]
        size = self.fixed_size
        if size is not None and (height, width) != (size, size):
            raise ValueError(
                f"{self.architecture} takes images of {size} x {size} pixels only, got "
                f"{height} x {width}"
            )
        bottom, right = (-side % self.plan.multiple for side in (height, width))
        return pad(x, (0, right, 0, bottom)) if bottom or right else x

    def _maps(self, x: Tensor) -> tuple[Tensor, ...]:
        return self._all_maps(x)[self.plan.stem :]

    def _all_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        return channels_first(self.body, self.body(x))

    def parameters_until(self, stage: int) -> list[nn.Parameter]:
        """The parameters that the stem's output (stage 0) or the level C(stage + 1) depends on.

        timm's models name and nest their parts in many ways, so autograd is asked. The stem is
        what makes the level of stride 2; where a model has none, its patch embedding. In a plain
        model, whose levels come from one map, a stage is a quarter of the blocks instead.
        """
        own = dict(self.named_parameters())
        if self.plan.plain and (quarters := _quarters(self.body)) is not None:
            return [own[f"body.model.{name}"] for name in _first(quarters, stage)]
        if stage == 0 and not self.plan.stem:
            prefixes = tuple(
                f"body.{inner}{stem}" for inner in ("", "model.", "body.") for stem in _STEM_NAMES
            )
            return [parameter for name, parameter in own.items() if name.startswith(prefixes)]
        twin = copy.deepcopy(self).eval().requires_grad_(True)
        parameters = dict(twin.named_parameters())
        size = self.native_size
        where = next(iter(own.values())).device
        image = torch.zeros(1, self.input_channels, size, size, device=where)
        with torch.enable_grad():
            maps = twin._all_maps(twin._padded(image))
            wanted = 0 if stage == 0 else self.plan.sources[stage - 1] + self.plan.stem
            gradients = torch.autograd.grad(
                maps[wanted].sum(), list(parameters.values()), allow_unused=True
            )
        return [
            own[name]
            for name, gradient in zip(parameters, gradients, strict=True)
            if gradient is not None
        ]


def timm_backbone(name: str, *, output_stride: int = 32) -> TimmBackbone:
    """timm's model `name` with random weights (timm's own initialization).

    Raises UnknownNameError for a name timm does not have, and ValueError for a model that cannot
    give C2..C5 (see `timm_plan`) or, with output_stride 16 or 8, has no dilated form.
    """
    return TimmBackbone(name, output_stride=output_stride)


def import_timm(
    name: str,
    weights_file: str | os.PathLike[str] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
) -> tuple[TimmBackbone, ImportedWeights]:
    """timm's model `name` with weights from a file or, without one, timm's pretrained (a download).

    The file must fit the whole model strictly; only its classifier may be missing: see
    `fit_state_dict`. config: where the weights have another pretrained_cfg than timm's (then theirs
    is the preprocessing). Raises WeightsError where the file does not fit, or where nothing can be
    downloaded; otherwise as `timm_backbone`.
    """
    full, imported = _load(name, weights_file, config, whole=False)
    backbone = TimmBackbone(name)
    copy_weights(full, backbone.body)
    backbone.preprocessing = timm_preprocessing(name, full.pretrained_cfg)
    return backbone, imported


def load_timm(
    name: str, weights_file: str | os.PathLike[str] | None = None
) -> tuple[nn.Module, ImportedWeights]:
    """The whole model, with its classifier, which the file must hold; otherwise `import_timm`."""
    return _load(name, weights_file, None, whole=True)


def _load(
    name: str,
    weights_file: str | os.PathLike[str] | None,
    config: Mapping[str, Any] | None,
    *,
    whole: bool,
) -> tuple[Any, ImportedWeights]:
    check_timm_model(name)
    if weights_file is None:
        full = _create_pretrained(name)
        return full, ImportedWeights(
            tensors=len(full.state_dict()),
            mapping="by name",
            published=published_facts(full.pretrained_cfg),
        )
    file = read_weights_file(weights_file)
    classifiers = _classifiers(name)
    full = timm.create_model(
        name,
        pretrained=False,
        pretrained_cfg=None if config is None else _known(config),
        **_classes_of(classifiers, file.tensors),
    )
    expected = full.state_dict()
    fitted, imported = fit_state_dict(
        file.tensors,
        expected,
        source=f"{os.fspath(weights_file)} for timm:{name}",
        classifiers=() if whole else classifiers,
        wrapper=file.wrapper,
    )
    full.load_state_dict({**expected, **fitted}, strict=True)
    if config is not None:
        imported = replace(imported, published=published_facts(full.pretrained_cfg))
    elif "." in name:  # a tag says how the file's weights see images, not where they come from
        facts = published_facts(full.pretrained_cfg)
        imported = replace(imported, published={k: v for k, v in facts.items() if k in _VIEW})
    return full, imported


_VIEW = ("crop_mode", "input_size", "test_input_size", "crop_pct", "test_crop_pct")


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a config.json what timm's own configurations have: others add names, or older ones."""
    return {f.name: config[f.name] for f in fields(PretrainedCfg) if f.name in config}


def published_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a pretrained_cfg says of its weights beside the preprocessing: for the card's notes."""
    texts = ("tag", "hf_hub_id", "url", "license", "crop_mode")
    found: dict[str, Any] = {
        key: one_line(config[key]) for key in texts if isinstance(config.get(key), str)
    }
    sizes = ("input_size", "test_input_size")
    found |= {key: list(config[key]) for key in sizes if config.get(key)}
    shares = ("crop_pct", "test_crop_pct")
    return found | {key: float(config[key]) for key in shares if config.get(key)}


def _create_pretrained(name: str) -> Any:
    if not timm.is_model_pretrained(name):
        raise WeightsError(
            f"timm has no pretrained weights for {name}: give a file, timm:{name}@FILE"
        )
    try:
        with offline_when_unreachable():
            return timm.create_model(name, pretrained=True)
    # The hub's client raises errors of several libraries where it gets no answer.
    except Exception as error:
        config = timm.get_pretrained_cfg(name)
        repo = None if config is None else config.hf_hub_id
        said = f": {where_to_get(repo)}" if repo else ""
        raise WeightsError(
            f"the pretrained weights of timm:{name} could not be downloaded "
            f"({type(error).__name__}){said}. Or give a file that you have: timm:{name}@FILE"
        ) from error


def _classifiers(name: str) -> tuple[str, ...]:
    """The modules that timm calls the model's classifier; a distilled one has two."""
    config = timm.get_pretrained_cfg(name)
    found = config.classifier if config is not None else None
    return (found,) if isinstance(found, str) else tuple(found or ())


def _classes_of(classifiers: Sequence[str], state: Mapping[str, Tensor]) -> dict[str, int]:
    """The classifier may have any number of classes; the file says how many."""
    weights = [f"{module}.weight" for module in classifiers[:1]]
    for name, tensor in state.items():
        if (name in weights or without_prefixes(name) in weights) and tensor.ndim:
            return {"num_classes": tensor.shape[0]}
    return {}


def copy_weights(full: nn.Module, body: nn.Module) -> None:
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


def _quarters(body: Any) -> list[list[str]] | None:
    """Names of a plain model's parameters: of what comes before the blocks, and of four quarters.

    The last quarter has what comes behind the blocks, too. None where timm does not say how the
    model is layered.
    """
    model = getattr(body, "model", None)
    if model is None or not hasattr(model, "group_matcher"):
        return None
    groups = group_parameters(model, model.group_matcher(coarse=False))
    layers = [groups[i] for i in sorted(groups)]
    blocks = len(getattr(model, "blocks", layers[1:]))
    parts: list[list[str]] = [[] for _ in range(5)]
    for i, names in enumerate(layers):
        parts[min(4, math.ceil(4 * i / blocks))] += names
    return parts


def _first(parts: list[list[str]], stage: int) -> list[str]:
    return [name for part in parts[: stage + 1] for name in part]


def timm_preprocessing(name: str, config: Mapping[str, Any]) -> Preprocessing:
    """What a model's pretrained configuration says of its input."""
    if len(config["mean"]) != 3 or len(config["std"]) != 3:
        raise ValueError(
            f"timm:{name} takes images of {len(config['mean'])} channels, where ours have 3"
        )
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
