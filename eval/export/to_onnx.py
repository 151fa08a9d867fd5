"""ONNX files of the backbone and, where there is one, of the classifier, checked with onnxruntime.

torch's exporter by tracing (`dynamo=False`) gives other numbers for networks that add in place, as
ResNets here do; hence the one by torch.export.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.processes import tell
from eval.export.same_features import trial_images
from eval.export.source import Source
from eval.export.targets import ExportError, Use

LEVELS = ("c2", "c3", "c4", "c5")
ABSOLUTE_TOLERANCE = 1e-4
"""Of outputs up to 1; of greater ones as a share."""


def write_onnx(source: Source, folder: Path) -> Use:
    """Writes backbone.onnx and classifier.onnx; otherwise as `write_torchvision`."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx asks for it
    except ModuleNotFoundError as error:
        raise ExportError(
            f"{error.name} is not installed, with which ONNX files are made and checked: "
            "pip install 'trickle[onnx]', or pip install onnx onnxscript onnxruntime"
        ) from error
    onnxruntime.set_default_logger_severity(3)
    _export(_Call(source.backbone, source.backbone), LEVELS, source, folder / "backbone.onnx")
    if source.head:
        classifier = _Call(source.backbone, source.logits)
        _export(classifier, ("logits",), source, folder / "classifier.onnx")

    def use(place: Path) -> str:
        lines = [
            "import onnxruntime",
            f"backbone = onnxruntime.InferenceSession({str(place / 'backbone.onnx')!r})",
            "backbone.get_modelmeta().custom_metadata_map  # says the preprocessing",
            'c2, c3, c4, c5 = backbone.run(None, {"image": images})  # float32 (B, C, H, W)',
        ]
        if source.head:
            file = str(place / "classifier.onnx")
            lines.append(f"classifier = onnxruntime.InferenceSession({file!r})")
            lines.append('(logits,) = classifier.run(None, {"image": images})')
        return "\n".join(lines)

    return use


class _Call(nn.Module):
    """A function of a backbone as a module, for torch.export."""

    def __init__(self, backbone: nn.Module, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.function = function

    def forward(self, image: Tensor) -> Any:
        return self.function(image)


def _export(module: _Call, outputs: Sequence[str], source: Source, path: Path) -> None:
    module.eval()
    side = source.backbone.native_size
    if _pads_by_size(source.backbone):
        # Padding computed from a size that is not known keeps torch.export busy for many minutes.
        if source.card.dataset is not None:
            side = source.card.dataset.get("eval_size", side)
        tell(f"onnx: the {path.stem} pads by the image's size, as TensorFlow does: one size alone")
    elif source.backbone.fixed_size is None:
        # Sides that no stride divides. Networks that are sensitive to the image's grid (Inception)
        # or to its size (attention) are exported again at one size.
        with suppress(_Refused):
            tell(f"onnx: the {path.stem}, for images of any size; this can take minutes ...")
            _convert(module, outputs, source, path, side=side, any_size=True)
            _check(module, path, [(side, side), (97, 130)], channels=source.channels)
            return
        tell(f"onnx: the {path.stem} has no form for images of any size")
    tell(f"onnx: the {path.stem}, for images of {side} x {side} pixels ...")
    try:
        _convert(module, outputs, source, path, side=side, any_size=False)
        _check(module, path, [(side, side)], channels=source.channels)
    except _Refused as error:
        raise ExportError(f"{source.card.architecture} has no ONNX form: {error}") from error


def _pads_by_size(backbone: nn.Module) -> bool:
    """Whether timm's layers for TensorFlow's weights ("SAME") are in it."""
    return any(type(module).__name__.endswith("Same") for module in backbone.modules())


class _Refused(Exception):
    """torch cannot export it, or the exported network computes something else."""


def _convert(
    module: nn.Module,
    outputs: Sequence[str],
    source: Source,
    path: Path,
    *,
    side: int,
    any_size: bool,
) -> None:
    dimension = torch.export.Dim
    axes: dict[int, Any] = {0: dimension("batch")}
    if any_size:
        axes |= {2: dimension.DYNAMIC, 3: dimension.DYNAMIC}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            program = torch.onnx.export(
                module,
                (trial_images(side, channels=source.channels),),
                dynamo=True,
                input_names=["image"],
                output_names=list(outputs),
                dynamic_shapes={"image": axes},
                verbose=False,
            )
    except Exception as error:  # the exporter's own, torch.export's, sympy's
        raise _Refused(str(error).strip().partition("\n")[0]) from error
    finally:
        logging.disable(logging.NOTSET)
    assert program is not None
    program.model.metadata_props.update(_metadata(source))
    program.save(path, external_data=False)


def _check(
    module: nn.Module, path: Path, sizes: Sequence[tuple[int, int]], *, channels: int
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    for batch, (height, width) in enumerate(sizes, start=1):
        images = trial_images(max(height, width), batch, channels=channels)
        images = images[..., :height, :width].contiguous()
        with torch.no_grad():
            expected = module(images)
        expected = expected if isinstance(expected, tuple) else (expected,)
        try:
            found = session.run(None, {"image": images.numpy()})
        except Exception as error:  # onnxruntime's errors have no common base
            raise _Refused(str(error)) from error
        for ours, theirs in zip(expected, found, strict=True):
            scale = max(1.0, ours.abs().max().item())
            if ours.shape != theirs.shape or not (
                np.abs(ours.numpy() - theirs).max() <= ABSOLUTE_TOLERANCE * scale
            ):
                raise _Refused(f"images of {height} x {width} pixels give something else")


def _metadata(source: Source) -> dict[str, str]:
    card = source.card
    return {
        "architecture": card.architecture,
        "width": f"{card.arguments['width']:g}",
        "preprocessing": json.dumps(card.preprocessing.to_dict()),
        "channels": json.dumps(card.features.channels),
        "strides": json.dumps(card.features.strides),
        "sha256": str(card.sha256),
        **({"classes": json.dumps(source.class_names)} if source.class_names else {}),
    }
