"""Architectures, their feature spec, the exported artifact and its registration in OpenMMLab.

Names are imported on first use (PEP 562), so that `import backbones` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbones.artifact import load_artifact, load_head, save_artifact, verify_artifact
    from backbones.base import Backbone
    from backbones.card import ArtifactError, Card, read_card
    from backbones.catalog import ARCHITECTURES, UnknownNameError
    from backbones.create import create_backbone
    from backbones.features import FeatureSpec
    from backbones.initialization import initialize, zero_gamma
    from backbones.preprocessing import IMAGENET_PAPER, Preprocessing

_MODULE_OF = {
    "ARCHITECTURES": "catalog",
    "ArtifactError": "card",
    "Backbone": "base",
    "Card": "card",
    "FeatureSpec": "features",
    "IMAGENET_PAPER": "preprocessing",
    "Preprocessing": "preprocessing",
    "UnknownNameError": "catalog",
    "create_backbone": "create",
    "initialize": "initialization",
    "load_artifact": "artifact",
    "load_head": "artifact",
    "read_card": "card",
    "save_artifact": "artifact",
    "verify_artifact": "artifact",
    "zero_gamma": "initialization",
}

__all__ = [
    "ARCHITECTURES",
    "IMAGENET_PAPER",
    "ArtifactError",
    "Backbone",
    "Card",
    "FeatureSpec",
    "Preprocessing",
    "UnknownNameError",
    "create_backbone",
    "initialize",
    "load_artifact",
    "load_head",
    "read_card",
    "save_artifact",
    "verify_artifact",
    "zero_gamma",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
