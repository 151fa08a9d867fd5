from __future__ import annotations

from typing import Any

import pytest
import torch

from backbones import UnknownNameError, create_backbone


@pytest.mark.parametrize(
    ("name", "arguments", "channels"),
    [
        ("resnet18b", {"width": 0.25}, (16, 32, 64, 128)),
        ("mobilenet", {"width": 0.25}, (32, 64, 128, 256)),
        ("inception_v3", {"width": 0.125}, (24, 40, 96, 256)),
        ("timm:mobilenetv3_small_050", {}, (8, 16, 24, 288)),
        ("torchvision:resnet18", {}, (64, 128, 256, 512)),
    ],
)
def test_every_kind_of_name(name: str, arguments: dict[str, Any], channels: object) -> None:
    backbone = create_backbone(name, output_stride=16, **arguments)
    assert backbone.features.channels == channels
    assert backbone.features.strides == (4, 8, 16, 16)
    assert backbone.architecture == name
    with torch.no_grad():
        levels = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert isinstance(levels, tuple)
    assert [level.shape[-1] for level in levels] == [16, 8, 4, 4]


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "torchvision:resnet18"])
def test_models_of_others_have_one_width(name: str) -> None:
    with pytest.raises(ValueError, match="has width 1"):
        create_backbone(name, width=0.5)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="resnet50a"):
        create_backbone("resnet50")


def test_the_global_generator_decides() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(create_backbone("resnet18a", width=0.125).state_dict()["conv1.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
