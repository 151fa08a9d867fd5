"""Which backbone of MMDetection and MMSegmentation an artifact's architecture is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from backbones.card import Card
from backbones.width import scale_channels
from eval.export.timm_form import is_resnet, resnet_of

# Our stem is conv1 (three convolutions) and bn1, OpenMMLab's is one sequence with the last norm.
_STEM = {"conv1.": "stem.", "bn1.": "stem.7."}


def openmmlab_form(card: Card, scope: str) -> dict[str, Any] | str:
    """The backbone's part of a configuration at stride 32, or why there is none.

    scope: "mmdet" or "mmseg".
    """
    if not is_resnet(card.architecture):
        return f"{scope} has no {card.architecture}"
    depth, variant = resnet_of(card.architecture)
    width = card.arguments["width"]
    base, half = scale_channels(64, width), scale_channels(32, width)
    channels = [scale_channels(c, width) for c in (64, 128, 256, 512)]
    if channels != [base * 2**i for i in range(4)] or (variant in "cd" and base != 2 * half):
        return f"{scope}'s ResNet doubles its channels exactly, which width {width:g} does not"
    form: dict[str, Any] = {"type": f"{scope}.ResNet", "depth": depth}
    if variant == "d":
        form["type"] = f"{scope}.ResNetV1d"
    elif variant == "c":
        form["deep_stem"] = True
    if width != 1.0:
        form |= {"base_channels": base, "stem_channels": base}
    style = "caffe" if variant == "a" else "pytorch"
    return {**form, "num_stages": 4, "out_indices": (0, 1, 2, 3), "style": style}


def dilated_form(card: Card, form: dict[str, Any]) -> dict[str, Any] | str:
    """MMSegmentation's backbone at output stride 8, or why it computes something else there."""
    depth, variant = resnet_of(card.architecture)
    if depth < 50:
        return (
            "mmseg's blocks of two convolutions dilate only the first of them, so that at output "
            "stride 8 the same weights compute something else"
        )
    if variant == "d":
        return (
            "where it dilates, mmseg's ResNetV1d drops the 2x2 average of the shortcut, so that "
            "at output stride 8 the same weights compute something else"
        )
    # Our convolution that would have strided keeps the dilation before it; behind the strided
    # 1x1 of ResNet-A the 3x3 already is on the dilated grid.
    return {
        **form,
        "strides": (1, 2, 1, 1),
        "dilations": (1, 1, 2, 4),
        "contract_dilation": variant != "a",
    }


def openmmlab_state(card: Card, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our ResNet's tensors under the names of OpenMMLab's."""
    if resnet_of(card.architecture)[1] not in "cd":
        return dict(state)
    renamed = {}
    for name, tensor in state.items():
        prefix = next((prefix for prefix in _STEM if name.startswith(prefix)), None)
        rest = name if prefix is None else _STEM[prefix] + name.removeprefix(prefix)
        renamed[rest] = tensor
    return renamed
