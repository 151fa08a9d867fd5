"""The table of sizes is what is counted on the networks, and between its widths about right."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from backbones import create_backbone
from backbones.catalog import ARCHITECTURES
from backbones.sizes import SIZES, gmacs, kept_bytes, parameters


def counted(architecture: str, width: float) -> tuple[int, float, float]:
    """Parameters, GMACs and bytes kept of an image of 224 pixels, on torch's meta device."""
    with torch.device("meta"):
        network = create_backbone(architecture, width=width).train()
        images = torch.zeros(2, 3, 224, 224)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(images)
        own = {t.untyped_storage()._cdata for t in [*network.parameters(), *network.buffers()]}
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage()._cdata not in own:
                kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            sum(level.mean() for level in network(images))
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    learned = sum(p.numel() for p in network.parameters())
    return learned, counter.get_total_flops() / 2 / 2e9, size / 2


def test_every_architecture_is_in_it() -> None:
    assert tuple(SIZES) == ARCHITECTURES
    assert parameters("timm:resnet50") is gmacs("timm:resnet50") is kept_bytes("timm:x") is None


def test_torchvisions_have_one_width() -> None:
    """torchvision's own table says 11,689,512 and 1.814 GMACs, its classifier included."""
    classifier = 512 * 1000 + 1000
    for width in (1.0, 0.25):
        assert parameters("torchvision:resnet18", width) == 11_689_512 - classifier
        assert gmacs("torchvision:resnet18", width) == pytest.approx(1.814, rel=1e-3)
        assert kept_bytes("torchvision:resnet18", width) == kept_bytes("resnet18b")
    assert parameters("torchvision:vgg16") is None


@pytest.mark.parametrize(
    ("architecture", "width", "tolerance"),
    [
        ("resnet18a", 1.0, 1e-3),
        ("mobilenet", 0.25, 1e-3),
        ("resnet18d", 0.5, 0.02),
        pytest.param("resnet50d", 0.5, 0.02, marks=pytest.mark.slow),
        pytest.param("resnet50d", 1.0, 1e-3, marks=pytest.mark.slow),
        *(
            pytest.param(name, 0.25, 1e-3, marks=pytest.mark.slow)
            for name in ARCHITECTURES
            if name not in ("mobilenet", "inception_v3")
        ),
        pytest.param("inception_v3", 1.0, 0.02, marks=pytest.mark.slow),
    ],
)
def test_sizes_are_those_of_the_networks(architecture: str, width: float, tolerance: float) -> None:
    learned, operations, kept = counted(architecture, width)
    assert parameters(architecture, width) == pytest.approx(learned, rel=tolerance)
    assert gmacs(architecture, width) == pytest.approx(operations, rel=tolerance)
    assert kept_bytes(architecture, width) == pytest.approx(kept, rel=0.1)
