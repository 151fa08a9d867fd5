"""Makes an artifact without training: random weights (the control) or weights of others.

    python -m backbones.obtain --backbone SPEC --artifact DIR [--seed S] [--width W]

SPEC is scratch:<architecture>, scratch:timm:<model>, timm:<model>[@FILE] or
torchvision:<model>[@NAME or FILE]. Exit code 0: written; 1: weights that cannot be had, cannot
be read or do not fit; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.atomic import sha256_file
from backbones.catalog import UnknownNameError, check_architecture

if TYPE_CHECKING:
    from backbones.card import Card

_SCRATCH = "scratch:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where weights come from: a seed (random), or `weights`, a file or a name (None: default)."""

    architecture: str
    random: bool
    weights: str | None = None


def parse_source(spec: str) -> Source:
    """Reads a SPEC (see the module's text). Raises UnknownNameError; torch is not imported."""
    if spec.startswith(_SCRATCH):
        architecture = spec.removeprefix(_SCRATCH)
        check_architecture(architecture)
        return Source(architecture=architecture, random=True)
    architecture, at, weights = spec.partition("@")
    if not architecture.startswith(("timm:", "torchvision:")):
        raise UnknownNameError(
            f"{spec!r} says no weights that can be had without training: expected "
            f"scratch:<architecture>, timm:<model>[@FILE] or torchvision:<model>[@NAME or FILE]"
        )
    check_architecture(architecture)
    if at and not weights:
        raise UnknownNameError(f"{spec!r} names no weights after @")
    return Source(architecture=architecture, random=False, weights=weights or None)


def obtain(spec: str, directory: str | os.PathLike[str], *, seed: int, width: float = 1.0) -> Card:
    """Writes the artifact of `spec` and returns its card.

    seed: of random weights; imported ones do not depend on it. width: factor on the channels of
    our architectures; a benchmark has one width for all its backbones, and models of timm and
    torchvision, which come in their own sizes, ignore it. Raises UnknownNameError, WeightsError,
    ArtifactError, OSError.
    """
    source = parse_source(spec)
    if source.random:
        return _obtain_random(source, directory, seed, width)
    return _obtain_imported(source, directory)


def _obtain_random(
    source: Source, directory: str | os.PathLike[str], seed: int, width: float
) -> Card:
    import torch

    from backbones.artifact import save_artifact
    from backbones.create import create_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = create_backbone(
            source.architecture, width=1.0 if ":" in source.architecture else width
        )
    return save_artifact(
        directory,
        backbone,
        {"weights": "random", "seed": seed, "cost": _cost(backbone)},
    )


def _obtain_imported(source: Source, directory: str | os.PathLike[str]) -> Card:
    from backbones.artifact import save_artifact

    package, _, model = source.architecture.partition(":")
    head = None
    if package == "timm":
        from backbones.timm_models import import_timm

        backbone: Any
        backbone, imported = import_timm(model, source.weights)
    else:
        from backbones.torchvision_models import import_torchvision

        backbone, head, imported = import_torchvision(model, source.weights)
    notes: dict[str, Any] = {
        "source": source.architecture,
        "weights_mapping": imported.mapping,
        "weights_tensors": imported.tensors,
    }
    if source.weights is not None and Path(source.weights).is_file():
        notes["weights_file"] = Path(source.weights).name
        notes["weights_sha256"] = sha256_file(source.weights)
    else:
        notes["weights_name"] = source.weights or "default"
    return save_artifact(
        directory,
        backbone,
        {"weights": "imported", "notes": notes, "cost": _cost(backbone)},
        head=head,
    )


def _cost(backbone: Any) -> dict[str, int | float]:
    from backbones.cost import count_gmacs, count_parameters

    return {
        "parameters": count_parameters(backbone),
        "gmacs": round(count_gmacs(backbone, backbone.native_size), 4),
        "gmacs_image_size": backbone.native_size,
    }


def _be_quiet() -> None:
    """What timm, torchvision and the hub's client say on the way goes nowhere."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m backbones.obtain",
        description="Makes an artifact without training: random weights, or weights of others.",
    )
    parser.add_argument(
        "--backbone",
        required=True,
        metavar="SPEC",
        help="scratch:<architecture>, scratch:timm:<model>, timm:<model>[@FILE] or "
        "torchvision:<model>[@NAME or FILE]",
    )
    parser.add_argument("--artifact", required=True, type=Path, metavar="DIR", help="is written")
    parser.add_argument("--seed", type=int, default=0, help="of random weights (default: 0)")
    parser.add_argument(
        "--width", type=float, default=1.0, help="factor on our networks' channels (default: 1)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    _be_quiet()
    try:
        card = obtain(options.backbone, options.artifact, seed=options.seed, width=options.width)
    except UnknownNameError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    origin = (
        f"random weights of seed {card.seed}"
        if card.weights == "random"
        else f"imported weights, {card.notes['weights_tensors']} tensors matched "
        f"{card.notes['weights_mapping']}"
    )
    parameters = (card.cost or {})["parameters"] / 1e6
    print(
        f"{card.architecture}, width {card.arguments['width']:g}: {origin}, "
        f"{parameters:.2f} M parameters -> {options.artifact}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
