"""The artifact's tensors under the names of the libraries whose names it has anyway."""

from __future__ import annotations

from torch import Tensor

from eval.export.source import Source
from eval.export.timm_form import NamedModel


def named_state(source: Source, form: NamedModel) -> dict[str, Tensor]:
    """The backbone's tensors and, where there is one, the classifier's."""
    head = {f"{form.classifier}.{name}": tensor for name, tensor in source.head.items()}
    return {**source.backbone.state_dict(), **head}
