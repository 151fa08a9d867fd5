from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from backbones.initialization import initialize, zero_gamma
from backbones.mobilenet import MobileNet
from backbones.resnet import BasicBlock, Bottleneck, ResNet


def test_xavier_uniform_by_its_closed_form() -> None:
    """U(-a, a) with a = sqrt(6 / (d_in + d_out)): standard deviation a / sqrt(3)."""
    model = ResNet(50, "d", width=0.5)
    checked = 0
    for module in model.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        cells = module.kernel_size[0] * module.kernel_size[1]
        bound = math.sqrt(6 / (cells * (module.in_channels + module.out_channels)))
        bound *= 1 + 1e-6  # the weights are rounded to float32
        largest = module.weight.abs().max().item()
        assert largest <= bound
        if module.weight.numel() > 10_000:
            assert largest > 0.999 * bound
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
            checked += 1
    assert checked > 20


def test_linear_layers_and_normalizations() -> None:
    model = nn.Sequential(nn.Linear(300, 200), nn.BatchNorm1d(200))
    nn.init.ones_(model[0].bias)
    nn.init.zeros_(model[1].weight)
    model(torch.randn(8, 300))
    initialize(model, seed=0)
    bound = math.sqrt(6 / 500) * (1 + 1e-6)
    assert 0.999 * bound < model[0].weight.abs().max().item() <= bound
    state = model.state_dict()
    assert (state["0.bias"] == 0).all()
    assert (state["1.weight"] == 1).all()
    assert (state["1.bias"] == 0).all()
    assert (state["1.running_mean"] == 0).all()
    assert (state["1.running_var"] == 1).all()


def test_a_seed_decides_all_and_disturbs_nothing() -> None:
    def draw(seed: int) -> torch.Tensor:
        layer = nn.Linear(5, 5)
        before = torch.get_rng_state()
        initialize(layer, seed)
        assert torch.equal(torch.get_rng_state(), before)
        return layer.weight.detach()

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


@pytest.mark.parametrize(("depth", "last", "blocks"), [(18, "bn2", 8), (50, "bn3", 16)])
def test_zero_gamma_is_the_last_gamma_of_each_block_and_no_other(
    depth: int, last: str, blocks: int
) -> None:
    model = ResNet(depth, "d", width=0.125)
    assert zero_gamma(model) == blocks
    zero = {
        name for name, p in model.named_parameters() if name.endswith("weight") and (p == 0).all()
    }
    expected = {
        f"{name}.{last}.weight"
        for name, module in model.named_modules()
        if isinstance(module, (BasicBlock, Bottleneck))
    }
    assert zero == expected


@pytest.mark.parametrize("depth", [18, 50])
def test_zero_gamma_makes_blocks_identities(depth: int, perturb: Callable[..., nn.Module]) -> None:
    model = ResNet(depth, "b", width=0.125)
    zero_gamma(model)
    model.eval()
    identities = 0
    for block in model.modules():
        if isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is None:
            # What a block gets is the non-negative output of the one before.
            features = torch.rand(2, block.conv1.in_channels, 5, 5)
            assert torch.equal(block(features), features)
            identities += 1
    # The first stage of basic blocks has no projection, that of bottlenecks has one.
    assert identities == (5 if depth == 18 else 12)


def test_zero_gamma_knows_timms_blocks_and_says_where_there_are_none() -> None:
    model = timm.create_model("resnet18", zero_init_last=False)
    assert zero_gamma(model) == 8
    assert (model.layer1[0].bn2.weight == 0).all()
    for unsuited in (nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), MobileNet(width=0.25)):
        with pytest.raises(ValueError, match="residual blocks"):
            zero_gamma(unsuited)
