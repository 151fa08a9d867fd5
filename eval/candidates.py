"""Which backbones `trickle finetune` chooses among where the user names none."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backbones.card import ArtifactError, Card, read_card
from backbones.hub import cached_file, settings
from backbones.huggingface_models import WEIGHTS_NAMES

SMALL_MODELS = (
    "resnet18.a1_in1k",
    "mobilenetv3_large_100.ra_in1k",
    "efficientnet_b0.ra_in1k",
    "convnext_nano.in12k_ft_in1k",
)
"""Of timm: small enough for a CPU, of four families, trained on ImageNet."""
CONTROL = "scratch:resnet18d"
MOST_ARTIFACTS = 8
_NETWORK_SECONDS = 4


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """specs: at least one. said: lines for the user, on where they come from."""

    specs: tuple[str, ...]
    said: tuple[str, ...]


def find_candidates(out: Path, *, reached: Callable[[], bool] | None = None) -> Candidates:
    """Artifacts below ./runs; else small models of timm; else random weights.

    out: whose own artifacts do not count: they are copies of earlier candidates. reached: whether
    the Hugging Face hub answers; by default it is asked, for a few seconds.
    """
    if found := _artifacts(out):
        best = found[:MOST_ARTIFACTS]
        left = len(found) - len(best)
        more = f"; {left} with a lower top-1 left out" if left else ""
        line = f"Backbones: {len(best)} pretrained ones in runs/*/artifacts{more}"
        return Candidates(specs=tuple(best), said=(line,))
    cached = [name for name in SMALL_MODELS if is_cached(name)]
    if len(cached) < len(SMALL_MODELS) and (reached or hub_answers)():
        specs = tuple(f"timm:{name}" for name in SMALL_MODELS)
        line = "Backbones: small models of timm, fetched from the Hugging Face hub where need be"
        return Candidates(specs=specs, said=(line,))
    if cached:
        line = f"Backbones: models of timm in the cache {settings().HF_HUB_CACHE}"
        return Candidates(specs=tuple(f"timm:{name}" for name in cached), said=(line,))
    warning = (
        f"Warning: no pretrained weights could be had: there are none in runs/*/artifacts or in "
        f"{settings().HF_HUB_CACHE}, and {settings().ENDPOINT} does not answer. {CONTROL} starts "
        "from random weights, and of few images it learns little: name weights with --backbone, "
        "such as timm:<model>@FILE"
    )
    return Candidates(specs=(CONTROL,), said=(warning,))


def is_cached(model: str) -> bool:
    """Whether the hub's cache has the weights of a model of timm."""
    return any(cached_file(f"timm/{model}", name) is not None for name in WEIGHTS_NAMES)


def hub_answers() -> bool:
    """Whether the Hugging Face hub can be asked for weights; tries it once, for a few seconds."""
    import urllib.request

    if settings().HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(settings().ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_NETWORK_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _artifacts(out: Path) -> list[str]:
    """Those that were trained, of several seeds one, the best top-1 first."""
    found: dict[tuple[str, str], tuple[float, str]] = {}
    for folder in sorted(Path("runs").glob("*/artifacts/*")):
        if folder.parent.parent.absolute() == out or (card := _card(folder)) is None:
            continue
        top1 = 0.0 if card.metrics is None else card.metrics["top1"]
        name = re.sub(r"-s\d+-[0-9a-f]{8}$", "", folder.name)
        key = (os.fspath(folder.parent), name)
        found.setdefault(key, (top1, os.fspath(folder)))  # the lowest seed
    return [path for _, path in sorted(found.values(), key=lambda one: -one[0])]


def _card(folder: Path) -> Card | None:
    """Of pretrained weights; None for random ones, and for what is no artifact."""
    try:
        card = read_card(folder)
    except (ArtifactError, OSError):
        return None
    return None if card.weights == "random" else card
