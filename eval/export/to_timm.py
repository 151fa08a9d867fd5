"""A checkpoint that `timm.create_model` loads strictly, and the same as a folder of the hub."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from timm.models._hub import save_config_for_hf
from torch import Tensor

from backbones.atomic import write_bytes_atomic, write_json_atomic, write_text_atomic
from backbones.card import Card
from backbones.model_card import render_model_card
from backbones.preprocessing import Preprocessing
from backbones.timm_models import TimmBackbone, copy_weights
from eval.export.named_state import named_state
from eval.export.passing_on import passing_on
from eval.export.same_features import (
    check_same,
    load_strictly,
    outputs_of,
    relative_difference,
    trial_images,
)
from eval.export.source import Source
from eval.export.targets import ExportError, Use
from eval.export.timm_form import NamedModel, timm_form

WEIGHTS = "model.safetensors"
LOGITS_TOLERANCE = 1e-4
"""Of the greatest logit: timm may add in another order, and `passing_on` subtracts a shift."""
_TIMM = "timm:"
_PUBLISHED = ("input_size", "test_input_size", "crop_pct", "test_crop_pct", "crop_mode")
_OF_THE_NETWORK = (
    "architecture",
    "fixed_input_size",
    "min_input_size",
    "pool_size",
    "first_conv",
    "classifier",
)


@dataclass(frozen=True, kw_only=True)
class _Export:
    """model: timm's, with the weights and checked. arguments: of create_model, beside the name."""

    model: Any
    name: str
    arguments: Mapping[str, Any]
    state: Mapping[str, Tensor]

    @property
    def num_classes(self) -> int:
        """0 without a classifier, which timm's feature networks do not say."""
        return int(getattr(self.model, "num_classes", 0))


def write_timm(source: Source, folder: Path) -> Use:
    """Writes the checkpoint and its pretrained_cfg.json; otherwise as `write_torchvision`."""
    made = _make(source)
    write_bytes_atomic(folder / WEIGHTS, safetensors.torch.save(_plain(made.state)))
    write_json_atomic(
        folder / "pretrained_cfg.json", {**_whole_cfg(source, made), **_labels(source, made)}
    )
    arguments = "".join(f", {key}={value!r}" for key, value in made.arguments.items())

    def use(place: Path) -> str:
        # Not as an overlay, below which the facts on timm's own weights would stay.
        return (
            f"{_left_out(source, made)}import json, timm\n"
            f"config = json.load(open({str(place / 'pretrained_cfg.json')!r}))\n"
            f'model = timm.create_model("{made.name}"{arguments}, '
            f"pretrained_cfg=config, checkpoint_path={str(place / WEIGHTS)!r})"
        )

    return use


def write_huggingface(source: Source, folder: Path) -> Use:
    """Writes what `timm.create_model("local-dir:...")` loads, and `hf upload` takes to the hub."""
    made = _make(source)
    if made.arguments.get("features_only"):
        raise ExportError(
            f"a folder of the hub holds a whole model, and of {source.card.architecture} the "
            "artifact has only what C2..C5 are made of; --to timm exports that"
        )
    made.model.pretrained_cfg = _whole_cfg(source, made)
    arguments = {k: v for k, v in made.arguments.items() if k != "num_classes"}
    save_config_for_hf(
        made.model, folder / "config.json", model_config=_labels(source, made), model_args=arguments
    )
    # Not by timm's save_for_hf, whose file no other user of the machine may read.
    write_bytes_atomic(folder / WEIGHTS, safetensors.torch.save(_plain(made.state)))
    front = "---\nlibrary_name: timm\ntags:\n- timm\n- image-classification\n---\n\n"
    said = _left_out(source, made)
    text = render_model_card(
        source.card, use=f"{said}{_hub_use('hf-hub:<org>/<name>')}".split("\n")
    )
    write_text_atomic(folder / "README.md", front + text)
    return lambda place: f"{said}{_hub_use(f'local-dir:{place}')}"


def _hub_use(model: str) -> str:
    return f"import timm\nmodel = timm.create_model({model!r}, pretrained=True)"


def _left_out(source: Source, made: _Export) -> str:
    """A comment where the export is without the artifact's classifier; else empty."""
    if made.num_classes == source.num_classes:
        return ""
    return (
        f"# WITHOUT the classifier of the {source.num_classes} classes: the artifact classifies by "
        "the average of its last map,\n"
        f"# timm's {made.name} by something else. `--to onnx` writes the classifier, too.\n"
    )


def _make(source: Source) -> _Export:
    if source.card.preprocessing.channel_order != "RGB":
        raise ExportError("timm feeds its models red, green, blue; this one takes BGR")
    if isinstance(source.backbone, TimmBackbone):
        return _make_timms_own(source, source.backbone)
    form = timm_form(source.card)
    if isinstance(form, str):
        raise ExportError(form)
    return _make_ours(source, form)


def _make_ours(source: Source, form: NamedModel) -> _Export:
    source.check_linear("timm")
    arguments = {**form.arguments, "num_classes": source.num_classes}
    state = named_state(source, form)
    model = timm.create_model(form.name, pretrained=False, **arguments)
    load_strictly(model, state)
    images = trial_images(source.backbone.native_size)
    with torch.no_grad():
        expected = [*source.backbone.classification_features(images)]
        if source.head:
            expected.append(source.logits(images))
    found = outputs_of(model, form.levels, images)[: len(expected)]
    check_same(expected, found, what=f"timm's {form.name}")
    return _Export(model=model, name=form.name, arguments=arguments, state=state)


def _make_timms_own(source: Source, backbone: TimmBackbone) -> _Export:
    """The whole model with the artifact's classifier where timm's can compute that, else the whole
    model without classifier where the artifact has all of it, else timm's feature network."""
    source.check_linear("timm")
    name, plan = backbone.architecture.removeprefix(_TIMM), backbone.plan
    images = trial_images(backbone.native_size)
    with torch.no_grad():
        expected = backbone(images)
    for of_it in (source, replace(source, head={})):
        for more in _POOLINGS:
            with suppress(_Incomplete):
                return _make_whole(of_it, backbone, images, expected, more)
    if plan.normalized:
        raise ExportError(f"timm's create_model has no form of {name} with these levels alone")
    arguments = {**dict(plan.arguments), "features_only": True, "out_indices": plan.indices}
    model = timm.create_model(name, pretrained=False, **arguments)
    state = backbone.body.state_dict()
    load_strictly(model, state)
    with torch.no_grad():
        theirs = TimmBackbone(name)
        theirs.body = model
        check_same(expected, theirs.eval()(images), what=f"timm's {name}")
    return _Export(model=model, name=name, arguments=arguments, state=state)


_POOLINGS: tuple[dict[str, Any], ...] = ({}, {"global_pool": "avg", "fc_norm": False})
"""The model's own, and that of a transformer which classifies by the average of its last map."""


class _Incomplete(Exception):
    """The artifact has not all tensors of the whole model, or it computes other logits."""


def _make_whole(
    source: Source,
    backbone: TimmBackbone,
    images: Tensor,
    expected: tuple[Tensor, ...],
    more: Mapping[str, Any],
) -> _Export:
    name = backbone.architecture.removeprefix(_TIMM)
    arguments = {**dict(backbone.plan.arguments), "num_classes": source.num_classes, **more}
    try:
        model: Any = timm.create_model(name, pretrained=False, **arguments)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        # Only some transformers know `more`, and not all of these with all of it.
        if not more:
            raise
        raise _Incomplete from error
    # timm's feature networks write `a.0` as `a_0`, and some put `model.` or `body.` before it.
    ours: dict[str, Tensor] = {}
    for key, tensor in backbone.body.state_dict().items():
        plain = key.replace(".", "_")
        for form in (plain, plain.removeprefix("model_"), plain.removeprefix("body_")):
            ours[form] = tensor
    expected_state = model.state_dict()
    if source.head:
        ours |= _head_of(model, source.head, expected_state)
    if any(key.replace(".", "_") not in ours for key in expected_state):
        raise _Incomplete
    state = {key: ours[key.replace(".", "_")] for key in expected_state}
    load_strictly(model, state)
    twin = TimmBackbone(name)
    copy_weights(model, twin.body)
    with torch.no_grad():
        check_same(expected, twin.eval()(images), what=f"timm's {name}")
        if source.head:
            difference = relative_difference(source.logits(images), model(images))
            if not difference <= LOGITS_TOLERANCE:  # also where it is nan
                raise _Incomplete  # it normalizes or pools otherwise before its classifier
    return _Export(model=model, name=name, arguments=arguments, state=state)


def _head_of(
    model: Any, head: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The classifier's tensors, and those of layers that timm has before it, with `a_0` for `a.0`;
    empty where there is no module for them."""
    found = passing_on(model, head)
    if not found:
        classifier = model.pretrained_cfg.get("classifier")
        found = {f"{classifier}.{name}": tensor for name, tensor in head.items()}
        if any(n not in expected or expected[n].numel() != t.numel() for n, t in found.items()):
            return {}
        # Some classifiers are 1x1 convolutions.
        found = {name: tensor.reshape(expected[name].shape) for name, tensor in found.items()}
    return {name.replace(".", "_"): tensor for name, tensor in found.items()}


def _whole_cfg(source: Source, made: _Export) -> dict[str, Any]:
    """What is said of the network, and of these weights; nothing that timm says of its own.

    Of a network's default configuration that is licence, origin, tag and the sizes of its tests.
    """
    default = made.model.pretrained_cfg
    ours = {**_pretrained_cfg(source), "num_classes": made.num_classes}
    found = {key: default[key] for key in _OF_THE_NETWORK if default.get(key) is not None}
    if default.get("input_size") and list(default["input_size"]) != ours["input_size"]:
        found.pop("pool_size", None)
    published = source.card.notes.get("published")
    of_weights = source.card.notes, published if isinstance(published, Mapping) else {}
    license_ = next((said["license"] for said in of_weights if said.get("license")), None)
    return {**found, **ours, **({"license": license_} if license_ else {})}


def _labels(source: Source, made: _Export) -> dict[str, list[str]]:
    """In timm's words; nothing where they are not known, or the model has no classifier."""
    names = source.class_names
    return {"label_names": names} if names and made.num_classes == len(names) else {}


def _pretrained_cfg(source: Source) -> dict[str, Any]:
    """timm's words for the preprocessing; mean and std on the scale 0..1."""
    prep: Preprocessing = source.card.preprocessing
    side = source.backbone.native_size
    return {
        "mean": [round(v / 255, 8) for v in prep.mean],
        "std": [round(v / 255, 8) for v in prep.std],
        "interpolation": prep.interpolation,
        "input_size": [3, side, side],
        **_evaluation(source.card),
    }


def _evaluation(card: Card) -> dict[str, Any]:
    """The size of the images and the share of them that is cut out, as far as the card knows."""
    dataset = card.dataset
    if dataset is not None and "eval_size" in dataset and "resize_size" in dataset:
        size = dataset["eval_size"]
        # Rounded down: timm computes the shorter side from it, and rounds that down.
        share = math.floor(size / dataset["resize_size"] * 1e6) / 1e6
        return {"input_size": [3, size, size], "crop_pct": share, "crop_mode": "center"}
    published = card.notes.get("published") or {}
    return {key: published[key] for key in _PUBLISHED if key in published}


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
