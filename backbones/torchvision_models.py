"""torchvision's ResNets: our ResNet-B, whose parameters have the same names, with its weights."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import torchvision.models
from torch import Tensor, nn

from backbones.catalog import UnknownNameError, nearest
from backbones.preprocessing import Preprocessing
from backbones.resnet import ResNet
from backbones.usable import check_torchvision_model
from backbones.weights_file import (
    ImportedWeights,
    WeightsError,
    fit_state_dict,
    read_state_dict,
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

    weights: a name such as IMAGENET1K_V2 (a download; None is the newest) or a file. Raises
    UnknownNameError for the name, WeightsError for a file that does not fit or a download that
    fails.
    """
    backbone = torchvision_backbone(name)
    if weights is not None and _is_file_name(weights):
        state = read_state_dict(weights)
    else:
        state = _download(name, weights)
    weight = state.get("fc.weight")
    classes = 1000 if weight is None or weight.ndim != 2 else weight.shape[0]
    model: nn.Module = torchvision.models.get_model(name, num_classes=classes)
    fitted, mapping = fit_state_dict(
        state, model.state_dict(), source=f"{weights or 'the weights'} for torchvision:{name}"
    )
    head = {key: fitted.pop(f"fc.{key}") for key in ("weight", "bias")}
    backbone.load_state_dict(fitted, strict=True)
    return backbone, head, ImportedWeights(tensors=len(state), mapping=mapping)


def _is_file_name(weights: str) -> bool:
    return os.sep in weights or bool(Path(weights).suffix) or Path(weights).is_file()


def _download(name: str, weights: str | None) -> dict[str, Any]:
    known = torchvision.models.get_model_weights(name)
    choice = weights or "DEFAULT"
    if choice not in known.__members__:
        names = list(known.__members__)
        close = nearest(choice, names) or names
        raise UnknownNameError(f"torchvision:{name} has no weights {choice!r}: {', '.join(close)}")
    entry = known[choice]
    try:
        # torch.hub announces the download (on stdout or stderr, by version) whatever is asked.
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            state: dict[str, Any] = entry.get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
            return state
    # URLError and a full disk are OSErrors, a wrong hash is a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the weights {choice} of torchvision:{name} could not be downloaded from "
            f"{entry.url} ({error}). Without a network give a file that you have: "
            f"torchvision:{name}@FILE"
        ) from error
