"""Folding keeps the function: normalizations vanish where that is exact, and nowhere else."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from backbones.create import create_backbone
from classification.folding import fold_batch_norm, output_layer


def perturbed(network: nn.Module) -> nn.Module:
    """With normalizations that all do something: left out or applied twice, it would show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def check(network: nn.Module, expected_folds: int, *, size: int = 32) -> nn.Module:
    """Folds, compares with the network itself on other images, returns what was folded."""
    network = perturbed(network).eval()
    folded, count = fold_batch_norm(network, images(size))
    assert count == expected_folds
    assert norms(folded) == norms(network) - expected_folds
    others = torch.randn(3, 3, size + 8, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        pairs = network(others), folded(others)
    for a, b in zip(*(p if isinstance(p, tuple) else (p,) for p in pairs), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4 * float(a.std()))
    return folded


@pytest.mark.parametrize("name", ["resnet50a", "resnet18b", "resnet18c", "resnet50d"])
def test_every_norm_of_a_resnet_is_folded(name: str) -> None:
    backbone = create_backbone(name, width=0.125)
    assert norms(check(backbone, norms(backbone))) == 0


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "regnetx_002"])
def test_timms_norms_with_activation_keep_their_activation(name: str) -> None:
    network = timm.create_model(name, num_classes=5)
    folded = check(network, norms(network), size=64)
    activations = (nn.ReLU, nn.Hardswish)
    assert any(isinstance(module, activations) for module in folded.modules())


def test_the_network_given_is_not_touched() -> None:
    network = perturbed(create_backbone("resnet18d", width=0.125)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded, _ = fold_batch_norm(network, images())
    assert not folded.training
    assert all(module.training for module in network.modules())
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1, eps=0.0)).eval()
    convolution, norm = network
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1))
        convolution.bias.fill_(3.0)
        norm.weight.fill_(6.0)
        norm.bias.fill_(0.5)
        norm.running_mean.fill_(1.0)
        norm.running_var.fill_(4.0)
    folded, count = fold_batch_norm(network, images(4))
    # Times 6 / 2; (3 - 1) 3 + 0.5.
    assert count == 1
    torch.testing.assert_close(folded[0].weight.flatten(), torch.tensor([3.0, 6.0, 12.0]))
    torch.testing.assert_close(folded[0].bias, torch.tensor([6.5]))


class _TwoReaders(nn.Module):
    """The first convolution's output also goes past its norm; the second's does not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return x + self.bn2(self.conv2(self.bn1(x).relu()))


class _Shared(nn.Module):
    """One convolution with two norms, behind a pair of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv(self.bn1(self.conv(self.stem(x))).relu()))


class _BehindActivation(nn.Module):
    """The activation between the two writes into the convolution's output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.relu(self.conv(x)))


class _ReadsItsWeights(nn.Module):
    """Looks like a pair that can be folded, and its output depends on the weights themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) / self.conv.weight.norm()


class _Branching(nn.Module):
    """What no symbolic trace follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if float(x.mean()) > 1e9 else x * 2


@pytest.mark.parametrize(
    ("make", "folds"),
    [
        (_TwoReaders, 1),
        (_Shared, 1),
        (_BehindActivation, 0),
        (_ReadsItsWeights, 0),
        (_Branching, 1),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), 1),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            0,
        ),
        (
            lambda: nn.Sequential(
                nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)
            ),
            0,
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), 0),
    ],
)
def test_only_what_is_exact_is_folded(make: type[nn.Module], folds: int) -> None:
    torch.manual_seed(0)
    network = make()
    assert norms(check(network, folds)) == norms(network) - folds


def test_a_network_that_cannot_be_proved_in_float64_stays_as_it_is() -> None:
    class Single(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) @ torch.ones(30, 30)

    check_size = 32
    network = perturbed(Single(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).eval()
    same, count = fold_batch_norm(network, images(check_size))
    assert count == 0
    assert torch.equal(same(images(check_size)), network(images(check_size)))


def test_the_output_layer_is_the_last_linear_one() -> None:
    network = timm.create_model("mobilenetv3_small_050", num_classes=5).eval()
    assert output_layer(network, images()) == "classifier"
    scaled = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Softmax(dim=1))
    assert output_layer(scaled, images(2)) is None
