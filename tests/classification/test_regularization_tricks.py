"""Dropout, drop-path, L1, gradient clipping and early stopping against timm and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import DropPath as TimmDropPath
from torch import nn

from backbones.create import create_backbone
from classification.model import Classifier
from classification.recipe import Recipe
from classification.tricks.drop_path import DropPath, drop_path_rates, residual_blocks
from classification.tricks.dropout import Dropout
from classification.tricks.early_stopping import EarlyStopping
from classification.tricks.gradient_clipping import GradientClipping
from classification.tricks.l1_penalty import L1Penalty, l1_norm


def _around(network: nn.Module, architecture: str = "some network") -> Any:
    """What a trick sees of a classifier."""
    network.architecture = architecture  # type: ignore[assignment]
    return SimpleNamespace(backbone=network)


def _rates(network: nn.Module) -> list[tuple[str, float]]:
    """Of all places at which something can be dropped, by their names."""
    return [
        (name, module.drop_prob if isinstance(module, TimmDropPath) else 0.0)
        for block_name, block in network.named_modules()
        for attribute in ("drop_path", "drop_path1", "drop_path2")
        if hasattr(block, attribute)
        for name, module in [(f"{block_name}.{attribute}", getattr(block, attribute))]
    ]


@pytest.mark.parametrize(
    "name",
    ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"],
)
def test_drop_path_rates_are_those_that_timm_gives_its_own_models(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name, drop_path_rate=0.3)
        ours = timm.create_model(name)
    assert DropPath(0.3).initialize(_around(ours), seed=0) is None
    expected = _rates(theirs)
    assert max(rate for _, rate in expected) == pytest.approx(0.3)
    names, rates = zip(*_rates(ours), strict=True)
    assert list(names) == [name for name, _ in expected]
    assert list(rates) == pytest.approx([rate for _, rate in expected])


def test_drop_path_replaces_the_rates_that_a_model_came_with() -> None:
    with torch.device("meta"):
        network = timm.create_model("convnext_atto", drop_path_rate=0.5)
    DropPath(0.1).initialize(_around(network), seed=0)
    assert max(rate for _, rate in _rates(network)) == pytest.approx(0.1)


def test_drop_path_reaches_every_block_of_our_resnets_from_0_to_the_rate() -> None:
    backbone = create_backbone("resnet50d", width=0.25)
    keys = list(backbone.state_dict())
    assert DropPath(0.3).initialize(Classifier(backbone, 10), seed=0) is None
    rates = [rate for _, rate in _rates(backbone)]
    # ResNet-50 has 3 + 4 + 6 + 3 blocks.
    assert rates == pytest.approx([0.3 * block / 15 for block in range(16)])
    assert list(backbone.state_dict()) == keys


def test_drop_path_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    plain = create_backbone("resnet18b", width=0.125)
    dropped = create_backbone("resnet18b", width=0.125)
    dropped.load_state_dict(plain.state_dict())
    DropPath(0.9).initialize(_around(dropped), seed=0)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain.eval()(images)[-1], dropped.eval()(images)[-1])
        assert not torch.equal(plain.train()(images)[-1], dropped.train()(images)[-1])


class _Constant(nn.Module):
    """A block that adds 1 to its input, unless its branch is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_path = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.drop_path(torch.ones_like(x))


def test_drop_path_drops_whole_images_at_its_rate_and_keeps_the_mean() -> None:
    network = nn.Sequential(_Constant(), _Constant())
    DropPath(0.25).initialize(_around(network), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        branches = network.train()(torch.zeros(4000, 3))
    # The first block keeps everything, the second three of four images, times 4 / 3.
    values = {round(value, 4) for value in branches.unique().tolist()}
    assert values == {1.0, round(1 + 4 / 3, 4)}
    assert (branches.amax(1) == branches.amin(1)).all()
    assert (branches[:, 0] == 1.0).double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert branches.mean().item() == pytest.approx(2.0, abs=0.04)


def test_a_network_without_residual_blocks_is_left_as_it_is_and_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    note = DropPath(0.1).initialize(_around(network, "vgg_like"), seed=0)
    assert note is not None
    assert "vgg_like has no residual blocks" in note
    assert "nothing was changed" in note


def test_an_attribute_of_the_name_that_is_no_module_makes_no_block() -> None:
    network = nn.Sequential(nn.ReLU())
    network.drop_path = 0.1  # type: ignore[assignment]
    assert residual_blocks(network) == []


@settings(max_examples=30, deadline=None)
@given(rate=st.floats(0.01, 0.99), blocks=st.integers(1, 200))
def test_drop_path_rates_grow_by_equal_amounts(rate: float, blocks: int) -> None:
    rates = drop_path_rates(rate, blocks)
    assert len(rates) == blocks
    assert rates[0] == 0
    if blocks > 1:
        assert rates[-1] == pytest.approx(rate)
        steps = [b - a for a, b in pairwise(rates)]
        assert steps == pytest.approx([rate / (blocks - 1)] * len(steps))


def _tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_the_l1_penalty_is_the_sum_of_the_weights_sizes_and_its_gradient_their_sign() -> None:
    network = _tiny()
    penalty = L1Penalty(weight=0.01).penalty(network)
    assert penalty is not None
    arrays = [network[i].weight.detach().double().numpy() for i in (0, 3)]
    expected = 0.01 * sum(abs(array).sum() for array in arrays)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    for i in (0, 3):
        weight = network[i].weight
        torch.testing.assert_close(weight.grad, 0.01 * weight.detach().sign())
    for vector in (network[0].bias, network[1].weight, network[1].bias, network[3].bias):
        assert vector.grad is None


def test_the_l1_penalty_leaves_frozen_weights_out() -> None:
    network = _tiny()
    network[0].weight.requires_grad_(False)
    expected = abs(network[3].weight.detach().double().numpy()).sum()
    assert L1Penalty(weight=1).penalty(network).item() == pytest.approx(expected, rel=1e-6)


def test_the_l1_norm_of_half_precision_weights_is_taken_in_float32() -> None:
    # 4096 ones: bfloat16 has 8 bits for the sum.
    norm = l1_norm([torch.full((4097,), -1.0, dtype=torch.bfloat16)])
    assert norm.dtype == torch.float32
    assert norm.item() == 4097


@pytest.mark.parametrize(
    ("trick", "field", "value"),
    [
        (Dropout(0.3), "dropout", 0.3),
        (GradientClipping(0.5), "gradient_clip", 0.5),
        (EarlyStopping(7), "early_stopping", 7),
    ],
)
def test_a_trick_sets_its_number_in_the_recipe_and_no_other(
    trick: Any, field: str, value: float
) -> None:
    before, after = Recipe().numbers(), (Recipe() | trick).numbers()
    assert {key for key in after if after[key] != before[key]} == {field}
    assert after[field] == value
    assert trick.kind == "regularization"


def test_dropout_acts_between_the_pooling_and_the_linear_layer() -> None:
    recipe = Recipe() | Dropout(0.5)
    backbone = create_backbone("resnet18b", width=0.125)
    classifier = Classifier(backbone, 3, dropout=recipe.dropout).train()
    seen: list[torch.Tensor] = []
    classifier.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(4, 3, 64, 64)
    classifier(images)
    (features,) = seen
    # Behind a rectifier some features are 0 anyway: all images of a channel only if it is dead.
    assert (features == 0).double().mean().item() > 0.3
    classifier.eval()(images)
    assert (seen[1] == 0).double().mean().item() < 0.3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dropout(0.0),
        lambda: Dropout(1.0),
        lambda: DropPath(0.0),
        lambda: DropPath(1.0),
        lambda: DropPath(float("nan")),
        lambda: L1Penalty(0.0),
        lambda: GradientClipping(0.0),
        lambda: GradientClipping(-1.0),
        lambda: EarlyStopping(0),
    ],
)
def test_knobs_of_regularization_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must .*not"):
        make()
