"""Images of one or four channels: the stem's weights are adapted as timm adapts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from backbones import create_backbone, load_artifact, save_artifact
from backbones.artifact import ArtifactError
from backbones.base import Backbone
from backbones.input_channels import set_input_channels
from backbones.preprocessing import IMAGENET_PAPER
from backbones.representation import Representation

SHOWN = {
    1: Representation(kind="grey", channels=1),
    4: Representation(kind="alpha", channels=4),
}
SMALL = "resnet10t.c3_in1k"


@pytest.mark.parametrize("channels", [1, 4])
def test_it_is_the_network_that_timm_makes_of_the_same_weights(
    channels: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(f"timm:{SMALL}").eval()
    whole = timm.create_model(SMALL)
    whole.load_state_dict(
        {name.removeprefix("body."): tensor for name, tensor in backbone.state_dict().items()},
        strict=False,
    )
    file = tmp_path / "weights.pth"
    torch.save(whole.state_dict(), file)
    theirs = timm.create_model(
        SMALL, pretrained=True, in_chans=channels, pretrained_cfg_overlay={"file": str(file)}
    ).eval()
    set_input_channels(backbone, channels)
    images = torch.randn(2, channels, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[-1], theirs.forward_features(images))


@pytest.mark.parametrize("architecture", ["resnet18d", "mobilenet"])
def test_grey_in_one_channel_is_grey_in_three(architecture: str) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(architecture, width=0.25).eval()
    one = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = backbone(one.expand(-1, 3, -1, -1))
        set_input_channels(backbone, 1)
        found = backbone(one)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_the_artifact_makes_it_again(channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18d", width=0.125)
    set_input_channels(backbone, channels)
    card = {
        "weights": "random",
        "seed": 0,
        "preprocessing": IMAGENET_PAPER.represented(SHOWN[channels]),
    }
    save_artifact(tmp_path / "a", backbone, card)
    loaded = load_artifact(tmp_path / "a")
    assert loaded.input_channels == channels
    assert loaded.preprocessing.representation == SHOWN[channels]
    images = torch.randn(1, channels, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(loaded(images), backbone.eval()(images), strict=True):
            assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=f"takes {channels} channels already"):
        set_input_channels(loaded, 5 - channels)


def test_a_card_of_other_images_is_refused(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18d", width=0.125)
    card = {"weights": "random", "preprocessing": IMAGENET_PAPER.represented(SHOWN[4])}
    with pytest.raises(ArtifactError, match="4 channels, the backbone takes 3"):
        save_artifact(tmp_path / "a", backbone, card)


class Blocks(Backbone):
    """Its stem sees blocks of 4 x 4 pixels as 48 channels, as TResNet's does."""

    architecture, native_size = "blocks", 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(48, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.stem(nn.functional.pixel_unshuffle(x, 4)),)


def test_a_network_without_a_plain_stem_is_refused() -> None:
    assert Blocks()(torch.zeros(1, 3, 32, 32))[0].shape == (1, 8, 8, 8)
    with pytest.raises(ValueError, match=r"blocks cannot take images of 4 channels"):
        set_input_channels(Blocks(), 4)
