"""Our MobileNet-V1 against timm's and the paper's cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.mobilenet import MobileNet

Perturb = Callable[..., nn.Module]


def timms(perturb: Perturb, **arguments: Any) -> Any:
    """timm's, with the paper's ReLU in the place of its ReLU6."""
    torch.manual_seed(0)
    return perturb(timm.create_model("mobilenetv1_100", act_layer=nn.ReLU, **arguments)).eval()


def body(model: Any) -> dict[str, torch.Tensor]:
    return {n: t for n, t in model.state_dict().items() if not n.startswith("classifier.")}


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_the_levels_are_timms(output_stride: int, perturb: Perturb) -> None:
    theirs = timms(perturb)
    ours = MobileNet(output_stride=output_stride).eval()
    assert list(ours.state_dict()) == list(body(theirs))
    ours.load_state_dict(body(theirs), strict=True)
    features = timms(perturb, features_only=True, output_stride=output_stride)
    features.load_state_dict(body(theirs), strict=True)
    # Sizes that no stride divides.
    images = torch.randn(1, 3, 77, 107)
    with torch.no_grad():
        for level, expected in zip(ours(images), features(images)[-4:], strict=True):
            torch.testing.assert_close(level, expected)
            assert expected.std() > 1e-3


def test_relu_is_not_clipped_at_6(perturb: Perturb) -> None:
    ours = MobileNet(width=0.25).eval()
    with torch.no_grad():
        ours.blocks[1][1].bn2.bias.fill_(7.0)
        assert ours(torch.randn(1, 3, 64, 64))[0].max() > 7


def test_the_papers_cost() -> None:
    """Table 4: 569 million multiply-adds and 4.2 million parameters, with the classifier."""
    with torch.device("meta"):
        model = MobileNet()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, 224, 224))
    classifier = 1024 * 1000
    assert round((counter.get_total_flops() / 2 + classifier) / 1e6) == 569
    parameters = sum(p.numel() for p in model.parameters()) + classifier + 1000
    assert round(parameters / 1e6, 1) == 4.2
    assert model.native_size == 224


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilation_samples_the_same_function_more_densely(
    output_stride: int, perturb: Perturb
) -> None:
    """À trous by its definition: every k-th cell of the dilated level is the strided level."""
    strided = perturb(MobileNet(width=0.125)).double().eval()
    dilated = MobileNet(width=0.125, output_stride=output_stride).double().eval()
    dilated.load_state_dict(strided.state_dict(), strict=True)
    images = torch.randn(1, 3, 75, 96, dtype=torch.float64)
    with torch.no_grad():
        sparse, dense = strided(images), dilated(images)
    for a, b, stride in zip(sparse, dense, (4, 8, 16, 32), strict=True):
        step = max(1, stride // output_stride)
        torch.testing.assert_close(b[..., ::step, ::step], a, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("width", [1.0, 0.25])
def test_the_feature_spec_is_what_comes_out(width: float) -> None:
    with torch.device("meta"):
        model = MobileNet(width=width).eval()
        levels = model(torch.zeros(1, 3, 33, 64))
    assert model.features.channels == tuple(int(c * width) for c in (128, 256, 512, 1024))
    assert [tuple(level.shape) for level in levels] == [
        (1, c, -(-33 // s), 64 // s)
        for c, s in zip(model.features.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("output_stride", [32, 8])
def test_every_parameter_learns(output_stride: int) -> None:
    model = MobileNet(width=0.25, output_stride=output_stride)
    torch.stack([level.mean() for level in model(torch.randn(2, 3, 64, 64))]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_parameters_until_a_stage() -> None:
    with torch.device("meta"):
        model = MobileNet()
    names = {id(p): n for n, p in model.named_parameters()}
    parts = [{names[id(p)].split(".conv")[0] for p in model.parameters_until(k)} for k in range(5)]
    assert {p.partition(".bn")[0] for p in parts[0]} == {"conv_stem.weight", "bn1.weight"} | {
        "bn1.bias",
        "blocks.0.0",
    }
    for stage in range(1, 5):
        added = {p.split(".")[1] for p in parts[stage] - parts[stage - 1]}
        assert added == {str(stage)}
    assert len(model.parameters_until(4)) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("arguments", "said"), [({"width": 9}, "width"), ({"output_stride": 64}, "8, 16 or 32")]
)
def test_wrong_arguments(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MobileNet(**arguments)
