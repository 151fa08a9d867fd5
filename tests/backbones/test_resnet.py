"""Our ResNets against torchvision's and timm's, the paper's costs and the definition of à trous."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.catalog import RESNETS, parse_architecture
from backbones.resnet import DenseAveragePool, ResNet
from backbones.width import scale_channels

Perturb = Callable[..., nn.Module]


def reference_features(model: Any, images: Tensor) -> list[Tensor]:
    """C2..C5 of a ResNet of torchvision or timm."""
    levels: list[Tensor] = []
    hooks = [
        getattr(model, f"layer{i}").register_forward_hook(lambda *a: levels.append(a[2]))
        for i in range(1, 5)
    ]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return levels


def copy_by_position(source: nn.Module, target: nn.Module) -> None:
    """Everything but the classifier's two tensors, in order."""
    tensors = [t for name, t in source.state_dict().items() if not name.startswith("fc.")]
    names = list(target.state_dict())
    target.load_state_dict(dict(zip(names, tensors, strict=True)), strict=True)


def assert_same_features(ours: nn.Module, theirs: nn.Module, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        got = ours.eval().double()(images)
    expected = reference_features(theirs.double(), images)
    assert len(got) == len(expected) == 4
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def count_with_classifier(model: ResNet) -> int:
    classifier = model.features.channels[-1] * 1000 + 1000
    return sum(p.numel() for p in model.parameters()) + classifier


def on_meta(name: str, **arguments: Any) -> ResNet:
    """Shapes without numbers: a 152-layer network in milliseconds."""
    with torch.device("meta"):
        return ResNet(*parse_architecture(name), **arguments)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_b_is_torchvisions(depth: int, perturb: Perturb) -> None:
    theirs = perturb(torchvision.models.get_model(f"resnet{depth}"))
    ours = ResNet(depth, "b")
    assert [n for n in theirs.state_dict() if not n.startswith("fc.")] == list(ours.state_dict())
    copy_by_position(theirs, ours)
    assert_same_features(ours, theirs, (64, 72))


@pytest.mark.parametrize("name", ["resnet18d", "resnet50d", "resnet50c"])
def test_c_and_d_are_timms(name: str, perturb: Perturb) -> None:
    theirs = perturb(timm.create_model(name))
    ours = ResNet(*parse_architecture(name))
    assert [n for n in theirs.state_dict() if not n.startswith("fc.")] == list(ours.state_dict())
    copy_by_position(theirs, ours)
    # 108 / 16 rounds up to 7 cells, which the pooling's 2 does not divide.
    assert_same_features(ours, theirs, (64, 108))


def test_a_is_b_that_strides_in_the_first_1x1(perturb: Perturb) -> None:
    theirs = perturb(torchvision.models.resnet50())
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    ours = ResNet(50, "a")
    copy_by_position(theirs, ours)
    assert_same_features(ours, theirs, (64, 64))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18b", 11_689_512),
        ("resnet34b", 21_797_672),
        ("resnet50a", 25_557_032),
        ("resnet50b", 25_557_032),
        ("resnet101b", 44_549_160),
        ("resnet152b", 60_192_808),
        ("resnet50d", 25_576_264),
    ],
)
def test_published_parameter_counts(name: str, count: int) -> None:
    """Of torchvision's documentation and timm's model cards, with 1,000 classes."""
    assert count_with_classifier(on_meta(name)) == count


@pytest.mark.parametrize("name", ["resnet101c", "resnet101d", "resnet152c", "resnet152d"])
def test_deep_parameter_counts_are_timms(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name)
    assert count_with_classifier(on_meta(name)) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(("variant", "gmacs"), [("a", 3.8), ("b", 4.1), ("c", 4.3), ("d", 4.3)])
def test_the_papers_gmacs(variant: str, gmacs: float) -> None:
    """Table 5, which counts the classifier, too: 2048 x 1000."""
    model = on_meta(f"resnet50{variant}")
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 224, 224, device="meta"))
    assert (counter.get_total_flops() / 2 + 2048 * 1000) / 1e9 == pytest.approx(gmacs, abs=0.1)


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_b_is_torchvisions(output_stride: int, perturb: Perturb) -> None:
    dilation = [False, output_stride == 8, True]
    theirs = perturb(torchvision.models.resnet50(replace_stride_with_dilation=dilation))
    ours = ResNet(50, "b", output_stride=output_stride)
    copy_by_position(theirs, ours)
    assert_same_features(ours, theirs, (64, 64))


@pytest.mark.parametrize(("name", "output_stride"), [("resnet18", 16), ("resnet18", 8)])
def test_dilated_b_is_timms(name: str, output_stride: int, perturb: Perturb) -> None:
    theirs = perturb(timm.create_model(name, output_stride=output_stride))
    ours = ResNet(*parse_architecture(f"{name}b"), output_stride=output_stride)
    copy_by_position(theirs, ours)
    assert_same_features(ours, theirs, (64, 76))


def test_the_dense_average_is_timms_inside() -> None:
    """At the right and lower border timm averages zeros in, which no strided pooling does."""
    theirs = timm.create_model("resnet18d", output_stride=16).layer4[0].downsample[0]
    features = torch.randn(2, 4, 5, 6)
    ours = DenseAveragePool(dilation=1)(features)
    torch.testing.assert_close(ours[..., :-1, :-1], theirs(features)[..., :-1, :-1])
    # By hand: only the cells that exist count.
    torch.testing.assert_close(ours[..., 0, -1], features[..., 0:2, -1].mean(-1))
    torch.testing.assert_close(ours[..., -1, -1], features[..., -1, -1])


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("name", ["resnet18b", "resnet18d"] + [f"resnet50{v}" for v in "abcd"])
def test_dilation_samples_the_same_function_more_densely(
    name: str, output_stride: int, perturb: Perturb
) -> None:
    """À trous by its definition: every k-th cell of the dilated level is the strided level."""
    depth, variant = parse_architecture(name)
    strided = perturb(ResNet(depth, variant, width=0.125)).double().eval()
    dilated = ResNet(depth, variant, width=0.125, output_stride=output_stride).double().eval()
    dilated.load_state_dict(strided.state_dict(), strict=True)
    images = torch.randn(1, 3, 75, 96, dtype=torch.float64)
    with torch.no_grad():
        sparse, dense = strided(images), dilated(images)
    for level, (a, b, stride) in enumerate(zip(sparse, dense, (4, 8, 16, 32), strict=True)):
        step = max(1, stride // output_stride)
        assert dilated.features.strides[level] == stride // step
        assert dilated.features.channels[level] == b.shape[1]
        torch.testing.assert_close(b[..., ::step, ::step], a, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("width", [1.0, 0.25])
@pytest.mark.parametrize("name", RESNETS)
def test_the_feature_spec_is_what_comes_out(name: str, width: float) -> None:
    # Without initialization: only shapes are looked at.
    model = on_meta(name, width=width).to_empty(device="cpu").eval()
    with torch.no_grad():
        levels = model(torch.zeros(1, 3, 32, 64))
    spec = model.features
    assert [tuple(level.shape) for level in levels] == [
        (1, c, 32 // s, 64 // s) for c, s in zip(spec.channels, spec.strides, strict=True)
    ]
    assert spec.strides == (4, 8, 16, 32)


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * x


@pytest.mark.parametrize("name", ["resnet18d", "resnet50d"])
def test_drop_path_is_on_the_residual_branch_as_in_timm(name: str, perturb: Perturb) -> None:
    """What stands there is applied before the addition, and by default nothing does."""
    theirs = perturb(timm.create_model(name, drop_path_rate=0.1))
    ours = ResNet(*parse_architecture(name))
    assert not any("drop_path" in key for key in ours.state_dict())
    copy_by_position(theirs, ours)
    for model in (theirs, ours):
        for module in model.modules():
            if hasattr(module, "drop_path"):
                module.drop_path = Scale()
    assert_same_features(ours, theirs, (64, 64))


def test_quarter_width() -> None:
    assert on_meta("resnet50d", width=0.25).features.channels == (64, 128, 256, 512)
    assert on_meta("resnet18a", width=0.25).features.channels == (16, 32, 64, 128)


@pytest.mark.parametrize(
    ("channels", "width", "scaled"),
    [(64, 1.0, 64), (64, 0.25, 16), (32, 0.1, 8), (64, 0.3, 16), (64, 0.32, 24), (64, 1.5, 96)],
)
def test_widths_stay_multiples_of_8(channels: int, width: float, scaled: int) -> None:
    assert scale_channels(channels, width) == scaled


@pytest.mark.parametrize("name", ["resnet18d", "resnet50a"])
@pytest.mark.parametrize("output_stride", [32, 8])
def test_every_parameter_learns(name: str, output_stride: int) -> None:
    model = ResNet(*parse_architecture(name), width=0.125, output_stride=output_stride)
    torch.stack([level.mean() for level in model(torch.randn(2, 3, 64, 64))]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_parameters_until_a_stage() -> None:
    model = on_meta("resnet50d")
    names = {id(p): n for n, p in model.named_parameters()}
    stem = [names[id(p)] for p in model.parameters_until(0)]
    assert {name.partition(".")[0] for name in stem} == {"conv1", "bn1"}
    two = [names[id(p)] for p in model.parameters_until(2)]
    assert {name.partition(".")[0] for name in two} == {"conv1", "bn1", "layer1", "layer2"}
    assert len(model.parameters_until(4)) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"depth": 51, "variant": "d"}, "depth"),
        ({"depth": 50, "variant": "e"}, "variant"),
        ({"depth": 50, "variant": "d", "output_stride": 4}, "8, 16 or 32"),
        ({"depth": 50, "variant": "d", "width": 0}, "width"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ResNet(**arguments)
