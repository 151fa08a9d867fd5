"""The artifact: a directory with a backbone's weights, its card and a model card.

`model.safetensors` (no pickle: reading it runs no code) holds the backbone's tensors under their
own names and the classifier, where there is one, under `head.`. A directory is written under a
temporary name and renamed, so it is whole or absent; what is read is checked against the card, and
the card against its own checksum.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from backbones.atomic import (
    atomic_directory,
    sha256_file,
    write_bytes_atomic,
    write_text_atomic,
)
from backbones.base import Backbone
from backbones.card import (
    CARD_NAME,
    README_NAME,
    WEIGHTS_NAME,
    ArtifactError,
    Card,
    check_weights,
    read_card,
)
from backbones.checksum import write_checked_json
from backbones.create import create_backbone
from backbones.input_channels import set_input_channels
from backbones.model_card import render_model_card
from backbones.provenance import git_revision, library_versions

__all__ = [
    "ArtifactError",
    "Card",
    "load_artifact",
    "load_backbone_state",
    "load_head",
    "read_card",
    "save_artifact",
    "verify_artifact",
]

_HEAD = "head."


def save_artifact(
    directory: str | os.PathLike[str],
    backbone: Backbone,
    card: Card | Mapping[str, Any],
    head: Mapping[str, Tensor] | None = None,
) -> Card:
    """Writes the artifact, replacing one that is there, and returns its card.

    backbone: made with output_stride 32 (weights do not depend on it; the card says strides
    4..32). card: a Card, or a mapping that says at least `weights`; what the backbone knows itself
    (architecture, arguments, features, preprocessing), versions, git revision and sha256 are
    filled in. head: tensors of the classifier, for example {"weight", "bias"}, read again by
    `load_head`. Raises ArtifactError for a card that contradicts the backbone, and where
    `directory` holds something that is not an artifact; OSError when the disk refuses.
    """
    directory = Path(directory)
    _check_replaceable(directory)
    card = _complete_card(backbone, card)
    state = backbone.state_dict()
    assert not any(name.startswith(_HEAD) for name in state), "a backbone has no classifier"
    tensors = {**state, **{_HEAD + name: tensor for name, tensor in (head or {}).items()}}
    with atomic_directory(directory) as folder:
        # Copies: safetensors refuses tensors that share memory or are strided.
        copies = {name: _plain_copy(tensor) for name, tensor in tensors.items()}
        # Written by us and not by save_file, whose error for a full disk is not an OSError.
        write_bytes_atomic(
            folder / WEIGHTS_NAME, safetensors.torch.save(copies, metadata={"format": "pt"})
        )
        card = card.model_copy(update={"sha256": sha256_file(folder / WEIGHTS_NAME)})
        write_checked_json(folder / CARD_NAME, card.to_dict())
        write_text_atomic(folder / README_NAME, render_model_card(card))
    return card


def load_artifact(directory: str | os.PathLike[str], *, output_stride: int = 32) -> Backbone:
    """The backbone of an artifact in eval mode, with its `.card` and `.features`.

    output_stride: 32, 16 or 8; any artifact can be loaded dilated. torch's global generator is
    left as it was. Raises ArtifactError where the file is damaged (sha256) or its keys or shapes
    are not exactly the architecture's (the message lists them).
    """
    card = read_card(directory)
    state = load_backbone_state(directory)
    with torch.random.fork_rng(devices=[]):
        backbone = create_backbone(
            card.architecture, output_stride=output_stride, width=card.arguments["width"]
        )
        set_input_channels(backbone, card.preprocessing.channels)
    _check_fits(directory, backbone, state)
    backbone.load_state_dict(state, strict=True)
    if backbone.features.channels != card.features.channels:
        raise ArtifactError(
            f"{directory}: the card says channels {card.features.channels}, the architecture "
            f"{card.architecture} has {backbone.features.channels}"
        )
    backbone.preprocessing = card.preprocessing
    backbone.card = card
    return backbone.eval()


def load_backbone_state(directory: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The backbone's tensors by name, without the classifier. Raises ArtifactError."""
    tensors = _read_tensors(directory)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(_HEAD)}


def load_head(directory: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The classifier's tensors, named as they were given to `save_artifact`.

    Raises ArtifactError where the artifact has no classifier or is damaged.
    """
    tensors = _read_tensors(directory)
    head = {
        name.removeprefix(_HEAD): tensor
        for name, tensor in tensors.items()
        if name.startswith(_HEAD)
    }
    if not head:
        raise ArtifactError(f"the artifact {os.fspath(directory)!r} holds no classifier")
    return head


def verify_artifact(directory: str | os.PathLike[str], backbone: Backbone, images: Tensor) -> None:
    """Export proves itself: the reloaded C2..C5 equal the backbone's, bit for bit.

    images: (B, 3, H, W), preprocessed. Both are compared on the CPU in eval mode and contiguous
    memory; `backbone` is not touched. Raises ArtifactError naming the tensors or levels that
    differ.
    """
    reloaded = load_artifact(directory, output_stride=backbone.output_stride)
    original = copy.deepcopy(backbone).cpu().eval()
    # Other memory formats take other kernels, and these round differently.
    original = original.to(memory_format=torch.contiguous_format)
    expected_state, state = original.state_dict(), reloaded.state_dict()
    _check_fits(directory, original, state)
    changed = [name for name in state if not torch.equal(state[name], expected_state[name])]
    if changed:
        raise ArtifactError(f"{directory}: tensors differ from the exported: {_list(changed)}")
    images = images.detach().cpu().contiguous()
    with torch.no_grad():
        pairs = zip(original(images), reloaded(images), strict=True)
        levels = [f"C{i}" for i, (a, b) in enumerate(pairs, start=2) if not torch.equal(a, b)]
    if levels:
        raise ArtifactError(
            f"{directory}: {', '.join(levels)} of the reloaded backbone differ from the exported"
        )


def _check_replaceable(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ArtifactError(f"{directory} is a file; an artifact is a directory")
    if any(directory.iterdir()) and not (directory / CARD_NAME).exists():
        raise ArtifactError(
            f"{directory} holds other files and no artifact: not replaced. Name a new directory"
        )


def _complete_card(backbone: Backbone, card: Card | Mapping[str, Any]) -> Card:
    known: dict[str, Any] = {
        "architecture": backbone.architecture,
        "arguments": {"width": backbone.width},
        "features": backbone.features,
    }
    if not isinstance(card, Card):
        defaults = {**known, "preprocessing": backbone.preprocessing}
        try:
            card = Card.model_validate({**defaults, **card})
        except ValidationError as error:
            raise ArtifactError(f"the card is not valid: {error}") from error
    if backbone.output_stride != 32:
        raise ArtifactError(
            f"save a backbone made with output_stride 32, not {backbone.output_stride}; the "
            f"weights are the same and any artifact can be loaded dilated"
        )
    for name, value in known.items():
        if getattr(card, name) != value:
            raise ArtifactError(
                f"the card says {name} = {getattr(card, name)}, the backbone has {value}"
            )
    if card.preprocessing.channels != backbone.input_channels:
        raise ArtifactError(
            f"the card says images of {card.preprocessing.channels} channels, the backbone takes "
            f"{backbone.input_channels}"
        )
    update: dict[str, Any] = {}
    if not card.versions:
        update["versions"] = library_versions()
    if card.git_revision is None:
        update["git_revision"] = git_revision()
    return card.model_copy(update=update)


def _plain_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to(device="cpu", copy=True).contiguous()


def _read_tensors(directory: str | os.PathLike[str]) -> dict[str, Tensor]:
    card = read_card(directory)
    path = Path(directory) / WEIGHTS_NAME
    check_weights(directory, card)
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a safetensors file: {error}") from error


def _check_fits(
    directory: str | os.PathLike[str], backbone: Backbone, state: Mapping[str, Tensor]
) -> None:
    expected = backbone.state_dict()
    problems = []
    if missing := sorted(set(expected) - set(state)):
        problems.append(f"missing keys: {_list(missing)}")
    if unexpected := sorted(set(state) - set(expected)):
        problems.append(f"unexpected keys: {_list(unexpected)}")
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    if shapes:
        problems.append(f"other shapes: {_list(shapes)}")
    if problems:
        raise ArtifactError(
            f"{os.fspath(directory)}: weights do not fit {backbone.architecture}: "
            + "; ".join(problems)
        )


def _list(names: list[str], limit: int = 20) -> str:
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"
