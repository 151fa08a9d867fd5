"""Makes an artifact without training: random weights (the control) or weights of others.

    python -m backbones.obtain --backbone SPEC --artifact DIR [--seed S] [--width W]

SPEC is scratch:<architecture>, scratch:timm:<model>, timm:<model>[@FILE],
torchvision:<model>[@NAME or FILE], hf:<org>/<name>[@revision] or <architecture>@FILE. Exit code 0:
written; 1: weights that cannot be had, cannot be read or do not fit; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.atomic import sha256_file
from backbones.catalog import UnknownNameError, check_architecture
from backbones.hub import cached_file, commit_of
from backbones.huggingface_models import (
    PREFIX,
    WEIGHTS_NAMES,
    find_hub_model,
    import_hub_model,
    split_hub_name,
)

if TYPE_CHECKING:
    from backbones.card import Card
    from backbones.weights_file import ImportedWeights

_SCRATCH = "scratch:"
_WIDTHS = (1.0, 0.5, 0.25, 0.125, 0.0625, 2.0)
"""Of backbones' channels, which a message can tell a file of another width by."""
_FORMS = (
    "scratch:<architecture>, scratch:timm:<model>, timm:<model>[@FILE], "
    "torchvision:<model>[@NAME or FILE], hf:<org>/<name>[@revision] or <architecture>@FILE"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where weights come from: a seed (random), or `weights`, a file or a name (None: default).

    architecture: of a model of the Hugging Face hub its name there, `hf:<org>/<name>`.
    """

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
    if architecture.startswith(PREFIX):
        split_hub_name(spec)
    elif architecture.startswith(("timm:", "torchvision:")) or (at and ":" not in architecture):
        check_architecture(architecture)
    else:
        raise UnknownNameError(
            f"{spec!r} says no weights that can be had without training: expected {_FORMS}"
        )
    if at and not weights:
        raise UnknownNameError(f"{spec!r} names no weights after @")
    return Source(architecture=architecture, random=False, weights=weights or None)


def obtain(spec: str, directory: str | os.PathLike[str], *, seed: int, width: float = 1.0) -> Card:
    """Writes the artifact of `spec` and returns its card.

    seed: of random weights; imported ones do not depend on it. width: factor on the channels of
    our architectures; a benchmark has one width for all its backbones, and models of timm and
    torchvision, which come in their own sizes, ignore it. Raises UnknownNameError, WeightsError,
    HubError, ArtifactError, OSError.
    """
    source = parse_source(spec)
    if source.random:
        return _obtain_random(source, directory, seed, width)
    return _obtain_imported(source, directory, width)


def check_given_weights(source: Source, width: float) -> None:
    """Raises as `obtain` would for a file, or for a name of torchvision's weights; writes nothing
    and downloads nothing. Other sources are not looked at.
    """
    package, _, model = source.architecture.partition(":")
    if source.weights is None or package == "hf":
        return
    if package == "timm":
        from backbones.timm_models import import_timm

        import_timm(model, source.weights)
    elif package == "torchvision":
        from backbones.torchvision_models import find_weights, import_torchvision, is_file_name

        if is_file_name(source.weights):
            import_torchvision(model, source.weights)
        else:
            find_weights(model, source.weights)
    else:
        _import_own(source.architecture, source.weights, width)


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


def _obtain_imported(source: Source, directory: str | os.PathLike[str], width: float) -> Card:
    from backbones.artifact import save_artifact

    backbone: Any
    head = None
    package, _, model = source.architecture.partition(":")
    origin = {"source": source.architecture}
    if package == "hf":
        hub_model = find_hub_model(f"{source.architecture}@{source.weights or 'main'}")
        backbone, imported, file, license_ = import_hub_model(hub_model)
        origin |= {"weights_hub": hub_model.repo, "weights_commit": hub_model.commit}
        origin |= _file_facts(file) | ({} if license_ is None else {"license": license_})
    elif package == "timm":
        from backbones.timm_models import import_timm

        backbone, imported = import_timm(model, source.weights)
        origin |= _given_or_published(source.weights, imported.published)
    elif package == "torchvision":
        from backbones.torchvision_models import import_torchvision, is_file_name

        backbone, head, imported = import_torchvision(model, source.weights)
        file_name = source.weights if source.weights and is_file_name(source.weights) else None
        origin |= _given_or_published(file_name, imported.published)
    else:
        assert source.weights is not None, "parse_source asks for a file"
        backbone, imported = _import_own(source.architecture, source.weights, width)
        origin |= _file_facts(Path(source.weights))
    report: dict[str, Any] = {
        "weights_mapping": imported.mapping,
        "weights_tensors": imported.tensors,
        "weights_left": list(imported.left),
        "weights_wrapper": imported.wrapper,
        "weights_prefix": imported.prefix or None,
        "weights_matched": str(imported),
        "published": dict(imported.published) or None,
    }
    said = {key: value for key, value in report.items() if value not in (None, [])}
    notes: dict[str, Any] = {**origin, **said}
    return save_artifact(
        directory,
        backbone,
        {"weights": "imported", "notes": notes, "cost": _cost(backbone)},
        head=head,
    )


def _import_own(architecture: str, file: str, width: float) -> tuple[Any, ImportedWeights]:
    """One of our architectures with the weights of a file, whose classifier is left out."""
    import torch

    from backbones.create import create_backbone
    from backbones.weights_file import WeightsError, fit_state_dict, read_weights_file

    read = read_weights_file(file)
    with torch.random.fork_rng(devices=[]):
        backbone = create_backbone(architecture, width=width)
    try:
        fitted, imported = fit_state_dict(
            read.tensors,
            backbone.state_dict(),
            source=f"{file} for {architecture} of width {width:g}",
            wrapper=read.wrapper,
        )
    except WeightsError as error:
        other = _width_of(architecture, read.tensors, width)
        if other is None:
            raise
        raise WeightsError(
            f"the benchmark's width is {width:g}, the file's {other:g}: give a file of width "
            f"{width:g}, or a benchmark with [backbone] width = {other:g}. {error}"
        ) from error
    backbone.load_state_dict(fitted, strict=True)
    return backbone, imported


def _width_of(architecture: str, tensors: Mapping[str, Any], width: float) -> float | None:
    """The width at which the tensors fit, where it is one of the usual ones; never `width`."""
    import torch

    from backbones.create import create_backbone
    from backbones.weights_file import WeightsError, fit_state_dict

    for other in _WIDTHS:
        with torch.device("meta"):
            state = create_backbone(architecture, width=other).state_dict()
        with suppress(WeightsError):
            fit_state_dict(tensors, state, source="")
            return other if other != width else None
    return None


def _given_or_published(file: str | None, published: Mapping[str, Any]) -> dict[str, str]:
    """Where imported weights come from: the user's file, or what the package downloaded."""
    if file is not None:
        return _file_facts(Path(file))
    facts = {"weights_name": str(published.get("tag") or "default")}
    if license_ := published.get("license"):
        facts["license"] = str(license_)
    if repo := published.get("hf_hub_id"):
        facts["weights_hub"] = str(repo)
        found = (cached_file(str(repo), name) for name in WEIGHTS_NAMES)
        file_of_hub = next((path for path in found if path is not None), None)
        if file_of_hub is not None:
            facts |= {"weights_commit": commit_of(file_of_hub), **_file_facts(file_of_hub)}
    elif url := published.get("url"):
        import torch

        cached = Path(torch.hub.get_dir(), "checkpoints", str(url).rpartition("/")[2])
        facts["weights_url"] = str(url)
        facts |= _file_facts(cached) if cached.is_file() else {}
    return facts


def _file_facts(file: Path) -> dict[str, str]:
    return {"weights_file": file.name, "weights_sha256": sha256_file(file)}


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
        help=_FORMS,
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
        else f"imported weights, {card.notes['weights_matched']}"
    )
    parameters = (card.cost or {})["parameters"] / 1e6
    print(
        f"{card.architecture}, width {card.arguments['width']:g}: {origin}, "
        f"{parameters:.2f} M parameters -> {options.artifact}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
