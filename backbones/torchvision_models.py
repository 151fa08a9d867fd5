"""torchvision's ResNets: our ResNet-B, whose parameters have the same names, with its weights."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn

from backbones.catalog import UnknownNameError, nearest
from backbones.preprocessing import Preprocessing
from backbones.resnet import ResNet
from backbones.usable import check_torchvision_model
from backbones.weights_file import (
    ImportedWeights,
    WeightsError,
    WeightsFile,
    fit_state_dict,
    read_weights_file,
    without_prefixes,
)

# torchvision's ImageClassification preset: (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) of 255.
_PREPROCESSING = Preprocessing(
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
)


def torchvision_backbone(name: str, *, output_stride: int = 32) -> ResNet:
    """torchvision's resnet18 to resnet152 with random weights (the paper's initialization).

    Raises UnknownNameError for other models.
    """
    check_torchvision_model(name)
    backbone = ResNet(int(name.removeprefix("resnet")), "b", output_stride=output_stride)
    backbone.architecture = f"torchvision:{name}"
    backbone.preprocessing = _PREPROCESSING
    return backbone


def import_torchvision(
    name: str, weights: str | None = None
) -> tuple[ResNet, dict[str, Tensor], ImportedWeights]:
    """The backbone with torchvision's weights, its classifier {"weight", "bias"}, what was read.

    weights: a name such as IMAGENET1K_V2 (a download; None is the newest), whose own transforms
    are the preprocessing, or a file; without a classifier in the file that mapping is empty. Raises
    UnknownNameError for the name, WeightsError for a file that does not fit or a download that
    fails.
    """
    backbone = torchvision_backbone(name)
    published: dict[str, Any] = {}
    if weights is not None and is_file_name(weights):
        file = read_weights_file(weights)
    else:
        entry = find_weights(name, weights)
        file = WeightsFile(tensors=_download(name, entry), wrapper=None)
        transforms = entry.transforms()
        backbone.preprocessing = _preprocessing(transforms)
        published = {
            "tag": entry.name,
            "url": entry.url,
            "input_size": [3, transforms.crop_size[0], transforms.crop_size[0]],
            "crop_pct": round(transforms.crop_size[0] / transforms.resize_size[0], 4),
        }
    heads = [t for k, t in file.tensors.items() if without_prefixes(k) == "fc.weight"]
    classes = heads[0].shape[0] if heads and heads[0].ndim == 2 else 1000
    model: nn.Module = torchvision.models.get_model(name, num_classes=classes)
    fitted, imported = fit_state_dict(
        file.tensors,
        model.state_dict(),
        source=f"{weights or 'the weights'} for torchvision:{name}",
        classifiers=("fc",),
        wrapper=file.wrapper,
    )
    head = {key: fitted.pop(f"fc.{key}") for key in ("weight", "bias") if f"fc.{key}" in fitted}
    backbone.load_state_dict(fitted, strict=True)
    return backbone, head, replace(imported, published=published)


def is_file_name(weights: str) -> bool:
    """Whether what stands behind @ is a file, and not the name of a set of weights."""
    return os.sep in weights or bool(Path(weights).suffix) or Path(weights).is_file()


def _preprocessing(transforms: Any) -> Preprocessing:
    mean, std = ([round(v * 255, 6) for v in part] for part in (transforms.mean, transforms.std))
    return Preprocessing(
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=transforms.interpolation.value,
    )


def find_weights(name: str, weights: str | None) -> Any:
    """torchvision's entry of that name, its default for None. Raises UnknownNameError."""
    known = torchvision.models.get_model_weights(name)
    choice = weights or "DEFAULT"
    if choice not in known.__members__:
        names = list(known.__members__)
        close = nearest(choice, names) or names
        raise UnknownNameError(f"torchvision:{name} has no weights {choice!r}: {', '.join(close)}")
    return known[choice]


def _download(name: str, entry: Any) -> dict[str, Tensor]:
    try:
        # torch.hub announces the download (on stdout or stderr, by version) whatever is asked.
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            state: dict[str, Tensor] = entry.get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
            return state
    # URLError and a full disk are OSErrors, a wrong hash is a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the weights {entry.name} of torchvision:{name} could not be downloaded from "
            f"{entry.url} ({error}), and they are not in {torch.hub.get_dir()}/checkpoints: put "
            f"that file there, or give one that you have: torchvision:{name}@FILE"
        ) from error
