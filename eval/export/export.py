"""Exporting: a folder that is whole or absent, and what to type there."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from backbones.atomic import atomic_directory, write_text_atomic
from backbones.card import README_NAME, read_card
from backbones.model_card import render_model_card
from eval.export.source import Source, load_source
from eval.export.targets import TARGETS, ExportError, Use

_ANY_IMAGES = ("onnx",)
"""Targets whose file says how the images are represented."""

Write = Callable[[Source, Path], Use]
_WRITERS = {
    "torchvision": ("to_torchvision", "write_torchvision"),
    "timm": ("to_timm", "write_timm"),
    "mmdet": ("to_openmmlab", "write_mmdet"),
    "mmseg": ("to_openmmlab", "write_mmseg"),
    "onnx": ("to_onnx", "write_onnx"),
    "huggingface": ("to_timm", "write_huggingface"),
}


def export(
    artifact: str | os.PathLike[str], target: str, out: str | os.PathLike[str] | None = None
) -> tuple[Path, str]:
    """Writes the artifact for `target` into a new folder; returns it and what loads it from here.

    target: one of `TARGETS`. out: default `<artifact's name>-<target>` in the current directory.
    The target's own network is made, loaded strictly, and has to compute the same. Raises
    ArtifactError for a directory that is no artifact or a damaged one; ExportError where the
    target has no such network, naming those that have, and where `out` is there already or lies
    below a file; OSError where it cannot be written.
    """
    card = read_card(artifact)
    name = Path(artifact).absolute().name
    given = Path(f"{name}-{target}" if out is None else out).expanduser()
    folder = given.absolute()
    if os.path.lexists(folder):
        raise ExportError(f"{folder} is there already: not replaced. Name another with --out")
    above = next(parent for parent in folder.parents if parent.exists())
    if not above.is_dir():
        raise ExportError(f"{above} is a file, so {folder} cannot be made below it. Name another")
    with atomic_directory(folder) as temporary:
        source = load_source(artifact)
        try:
            _check_images(source, target)
            use = _writer(target)(source, temporary)
        except ExportError as error:
            raise ExportError(
                f"{card.architecture} of width {card.arguments['width']:g} cannot be exported to "
                f"{target}: {error}. Possible: {', '.join(_others(source, target))}"
            ) from error
        if not (temporary / README_NAME).exists():
            lines = ["# in this folder", *use(Path()).split("\n")]
            language = "sh" if target in ("mmdet", "mmseg") else "python"
            text = render_model_card(card, use=lines, language=language)
            write_text_atomic(temporary / README_NAME, text)
    return folder, use(given)


def _check_images(source: Source, target: str) -> None:
    shown = source.card.preprocessing.representation
    if shown is not None and target not in _ANY_IMAGES:
        raise ExportError(
            f"{target} feeds its networks red, green, blue; this one's images are represented as "
            f"{shown.kind}"
        )


def _writer(target: str) -> Write:
    module, name = _WRITERS[target]
    write: Write = getattr(import_module(f"eval.export.{module}"), name)
    return write


def _others(source: Source, target: str) -> list[str]:
    """The targets that have the network, without trying them."""
    from eval.export.timm_form import timm_form, torchvision_form

    card = source.card
    impossible = {target}
    if card.preprocessing.representation is not None:
        return [name for name in _ANY_IMAGES if name != target]
    if source.hidden_layers:
        impossible |= {"torchvision", "timm", "huggingface"}
    if isinstance(torchvision_form(card), str):
        impossible.add("torchvision")
    timms_own = card.architecture.startswith("timm:")
    if not timms_own and isinstance(timm_form(card), str):
        impossible |= {"timm", "huggingface"}
    if source.backbone.fixed_size is not None:
        impossible |= {"mmdet", "mmseg"}
    return [name for name in TARGETS if name not in impossible]
