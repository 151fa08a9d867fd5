"""A state dict of torchvision's model."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision.models
from torch import nn

from backbones.atomic import atomic_file
from eval.export.named_state import named_state
from eval.export.same_features import check_same, load_strictly, outputs_of, trial_images
from eval.export.source import Source
from eval.export.targets import ExportError, Use
from eval.export.timm_form import NamedModel, torchvision_form


def write_torchvision(source: Source, folder: Path) -> Use:
    """Writes NAME.pth into `folder` and says how it is loaded. Raises ExportError."""
    form = torchvision_form(source.card)
    if isinstance(form, str):
        raise ExportError(form)
    source.check_linear("torchvision")
    state = named_state(source, form)
    model = _model(form, source.num_classes)
    load_strictly(model, state)
    images = trial_images(source.backbone.native_size)
    with torch.no_grad():
        expected = [*source.backbone.classification_features(images)]
        if source.head:
            expected.append(source.logits(images))
    check_same(expected, outputs_of(model, form.levels, images)[: len(expected)], what=form.name)
    with atomic_file(folder / f"{form.name}.pth") as file:
        torch.save(state, file)
    given = {**form.arguments, **({"num_classes": source.num_classes} if source.head else {})}
    arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
    lines = ["import torch, torchvision", f"model = torchvision.models.{form.name}({arguments})"]
    if not source.head:
        lines.append("model.fc = torch.nn.Identity()  # the artifact has no classifier")

    def use(place: Path) -> str:
        file = str(place / f"{form.name}.pth")
        load = f"state = torch.load({file!r}, weights_only=True)"
        return "\n".join([*lines, load, "model.load_state_dict(state)"])

    return use


def _model(form: NamedModel, num_classes: int) -> nn.Module:
    model: nn.Module = torchvision.models.get_model(
        form.name, weights=None, num_classes=num_classes or 1, **form.arguments
    )
    if not num_classes:
        setattr(model, form.classifier, nn.Identity())
    return model
