"""What a training starts from: Xavier's, Kaiming's and an artifact's weights, and zero gamma."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.init import calculate_gain
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.artifact import ArtifactError, save_artifact
from backbones.create import create_backbone
from backbones.initialization import initialize
from backbones.preprocessing import Preprocessing
from classification.model import Classifier
from classification.recipe import Recipe
from classification.tricks.kaiming_initialization import KaimingInitialization, kaiming_normal
from classification.tricks.pretrained import Pretrained
from classification.tricks.xavier_initialization import XavierInitialization
from classification.tricks.zero_gamma import ZeroGamma


def _fans(weight: torch.Tensor) -> tuple[int, int]:
    return nn.init._calculate_fan_in_and_fan_out(weight)  # torch's own count


def _classifier(name: str = "resnet18b", width: float = 0.25) -> Classifier:
    return Classifier(create_backbone(name, width=width), 10)


def _layers(network: nn.Module) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


def test_xavier_weights_fill_the_papers_interval() -> None:
    classifier = _classifier()
    assert XavierInitialization().initialize(classifier, seed=1) is None
    for layer in _layers(classifier):
        fan_in, fan_out = _fans(layer.weight)
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert layer.weight.abs().max().item() <= bound
        # U(-a, a) has the standard deviation a / sqrt(3).
        count = layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(
            bound / math.sqrt(3), rel=3 / math.sqrt(count)
        )
        assert layer.bias is None or not layer.bias.any()


def test_xavier_gives_our_networks_the_weights_that_they_have_anyway() -> None:
    classifier, plain = _classifier(), create_backbone("resnet18b", width=0.25)
    initialize(plain, seed=5)
    XavierInitialization().initialize(classifier, seed=5)
    ours = classifier.backbone.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize("mode", ["fan_out", "fan_in"])
def test_kaiming_weights_have_the_spread_that_torch_computes(mode: Any) -> None:
    classifier = _classifier(width=0.5)
    head = classifier.head.weight.clone()
    assert KaimingInitialization(mode=mode).initialize(classifier, seed=1) is None
    for layer in _layers(classifier.backbone):
        fan = _fans(layer.weight)[mode == "fan_out"]
        expected = calculate_gain("relu") / math.sqrt(fan)
        count = layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * count))
        assert abs(layer.weight.mean().item()) < 4 * expected / math.sqrt(count)
    assert torch.equal(classifier.head.weight, head)


def test_kaiming_counts_the_channels_of_one_group() -> None:
    # A depthwise 3x3 convolution: each value goes into 9 others and comes from 9.
    depthwise = nn.Conv2d(2048, 2048, 3, groups=2048)
    for mode in ("fan_out", "fan_in"):
        kaiming_normal(depthwise, seed=0, mode=mode)  # type: ignore[arg-type]
        assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.03)
    assert not depthwise.bias.any()


def test_kaiming_keeps_the_size_of_gradients_through_many_rectified_layers() -> None:
    # Section 2.2: with fan_out the variance of gradients is the same in all layers; Xavier's
    # halves it in each.
    network = nn.Sequential(
        *[part for _ in range(20) for part in (nn.Linear(256, 256, bias=False), nn.ReLU())]
    ).double()
    sizes = []
    for start in (lambda: kaiming_normal(network, seed=0), lambda: initialize(network, seed=0)):
        start()
        generator = torch.Generator().manual_seed(0)
        images, upstream = torch.randn(2, 64, 256, generator=generator, dtype=torch.double)
        images.requires_grad_()
        (gradient,) = torch.autograd.grad(network(images), images, upstream)
        sizes.append(gradient.square().mean().item())
    assert 0.2 < sizes[0] < 5
    assert sizes[1] < 1e-4  # 2^-20 is about 1e-6


@pytest.mark.parametrize("trick", [XavierInitialization(), KaimingInitialization()])
def test_the_seed_alone_says_which_weights_come(trick: Any) -> None:
    weights = []
    for noise, seed in ((1, 3), (2, 3), (2, 4)):
        torch.manual_seed(noise)
        classifier = _classifier()
        torch.manual_seed(noise + 10)
        trick.initialize(classifier, seed=seed)
        weights.append(classifier.backbone.layer4[1].conv2.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_zero_gamma_makes_every_residual_block_its_shortcut() -> None:
    classifier = _classifier("resnet50d")
    assert ZeroGamma().initialize(classifier, seed=0) is None
    zeroed = [m for m in classifier.modules() if isinstance(m, _BatchNorm) and not m.weight.any()]
    assert len(zeroed) == 3 + 4 + 6 + 3  # one in each bottleneck of ResNet-50


def test_zero_gamma_says_so_where_there_is_no_residual_block() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network.architecture = "mobilenet"  # type: ignore[assignment]
    note = ZeroGamma().initialize(SimpleNamespace(backbone=network), seed=0)  # type: ignore[arg-type]
    assert note == (
        "zero_gamma: mobilenet has no residual blocks that end in a batch normalization; "
        "nothing was changed"
    )
    assert network[1].weight.all()


def test_zero_gamma_comes_after_the_initialization_in_whatever_order_they_were_added() -> None:
    for recipe in (
        Recipe() | ZeroGamma() | XavierInitialization(),
        Recipe() | KaimingInitialization() | ZeroGamma(),
    ):
        classifier = _classifier()
        for trick in recipe.acting:
            trick.initialize(classifier, seed=0)
        assert not classifier.backbone.layer1[0].bn2.weight.any()


def _save(folder: Path, name: str = "resnet18b", width: float = 0.25, **card: Any) -> Any:
    torch.manual_seed(7)
    backbone = create_backbone(name, width=width)
    with torch.no_grad():
        for tensor in backbone.buffers():  # running statistics are weights too
            tensor.add_(1)
    head = {"weight": torch.zeros(1000, 1), "bias": torch.zeros(1000)}
    save_artifact(folder, backbone, {"weights": "random", **card}, head=head)
    return backbone


def test_pretrained_loads_every_tensor_of_the_artifacts_backbone_and_leaves_the_head(
    tmp_path: Path,
) -> None:
    saved = _save(tmp_path / "artifact")
    classifier = _classifier()
    head = classifier.head.weight.clone()
    assert Pretrained(str(tmp_path / "artifact")).initialize(classifier, seed=0) is None
    ours = classifier.backbone.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in saved.state_dict().items())
    assert torch.equal(classifier.head.weight, head)
    assert classifier.head.out_features == 10


@pytest.mark.parametrize(
    ("name", "width", "said"),
    [
        ("resnet18b", 0.5, r"resnet18b of width 0.5, not the resnet18b of width 0.25"),
        ("resnet18d", 0.25, r"resnet18d of width 0.25, not the resnet18b of width 0.25"),
    ],
)
def test_pretrained_refuses_another_architecture_or_width(
    tmp_path: Path, name: str, width: float, said: str
) -> None:
    _save(tmp_path / "artifact", name, width)
    with pytest.raises(ValueError, match=said):
        Pretrained(str(tmp_path / "artifact")).initialize(_classifier(), seed=0)


def test_pretrained_refuses_what_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        Pretrained(str(tmp_path / "nothing")).initialize(_classifier(), seed=0)
    _save(tmp_path / "artifact")
    weights = tmp_path / "artifact" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(ArtifactError, match="sha256"):
        Pretrained(str(tmp_path / "artifact")).initialize(_classifier(), seed=0)


def test_pretrained_remarks_that_the_weights_are_used_to_other_inputs(tmp_path: Path) -> None:
    other = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3, channel_order="BGR")
    _save(tmp_path / "artifact", preprocessing=other)
    note = Pretrained(str(tmp_path / "artifact")).initialize(_classifier(), seed=0)
    assert note is not None
    assert "BGR" in note
    assert "127.5" in note
    assert "123.68" in note


def test_pretrained_weights_and_zero_gamma_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="zero_gamma"):
        Recipe() | ZeroGamma() | Pretrained("artifact")


def test_a_recipe_has_one_initialization() -> None:
    with pytest.raises(ValueError, match=r"kaiming_initialization.*xavier_initialization"):
        Recipe() | XavierInitialization() | KaimingInitialization()


def test_knobs_of_initializations_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="fan_out or fan_in, not 'fan'"):
        KaimingInitialization(mode="fan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="directory of an artifact"):
        Pretrained("")
