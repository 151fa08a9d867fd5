"""FGSM and its iterations against the closed form of a linear classifier."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from classification.attacks import fgsm, iterative_fgsm, loss_gradient

EPSILON = 4 / 255


class Linear(nn.Module):
    """logits = W x + b."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = torch.randn(classes, pixels, generator=generator)
        self.bias = torch.randn(classes, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T + self.bias


def images_of(count: int = 4, *, low: float = 0.2, high: float = 0.8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * torch.rand(count, 3, 2, 2, generator=generator)


def test_the_gradient_of_a_linear_classifier_is_known() -> None:
    network, images, labels = Linear(12, 5), images_of(), torch.tensor([0, 1, 2, 4])
    # d(-log softmax_y)/dx = W^T (softmax(Wx + b) - e_y), for each image on its own.
    scores = torch.softmax(network(images), 1)
    expected = (scores - torch.eye(5)[labels]) @ network.weight
    found = loss_gradient(network, images, labels)
    torch.testing.assert_close(found, expected.view_as(images), rtol=1e-4, atol=1e-6)


def test_of_two_classes_the_attack_goes_along_the_sign_of_the_weights() -> None:
    """W_other - W_label, whatever the image: so one step and ten steps end at the same place."""
    network, images = Linear(12, 2), images_of()
    labels = torch.tensor([0, 1, 0, 1])
    toward = (network.weight[1 - labels] - network.weight[labels]).sign().view_as(images)
    expected = images + EPSILON * toward
    once = fgsm(images, loss_gradient(network, images, labels), epsilon=EPSILON)
    torch.testing.assert_close(once, expected, rtol=0, atol=1e-6)
    often = iterative_fgsm(network, images, labels, epsilon=EPSILON, steps=10)
    torch.testing.assert_close(often, expected, rtol=0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(epsilon=st.floats(0, 1), steps=st.integers(1, 12), seed=st.integers(0, 99))
def test_no_pixel_moves_further_than_epsilon_or_out_of_0_to_1(
    epsilon: float, steps: int, seed: int
) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3))
    network.requires_grad_(False)
    images, labels = torch.rand(3, 3, 2, 2), torch.randint(3, (3,))
    gradient = loss_gradient(network, images, labels)
    for attacked in (
        fgsm(images, gradient, epsilon=epsilon),
        iterative_fgsm(network, images, labels, epsilon=epsilon, steps=steps),
    ):
        assert (attacked - images).abs().max() <= epsilon + 1e-6
        assert attacked.min() >= 0
        assert attacked.max() <= 1


def test_an_attack_raises_the_loss_and_leaves_no_gradients_behind() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    images, labels = images_of(8), torch.arange(8) % 4
    before = images.clone()

    def loss(of: Tensor) -> float:
        return nn.functional.cross_entropy(network(of), labels).item()

    attacked = iterative_fgsm(network, images, labels, epsilon=0.1, steps=5)
    assert loss(attacked) > loss(images)
    assert torch.equal(images, before)
    assert all(weight.grad is None for weight in network.parameters())


def test_images_are_attacked_one_by_one() -> None:
    """What is beside an image in its batch says nothing of what becomes of it."""
    network, images, labels = Linear(12, 5), images_of(), torch.tensor([0, 1, 2, 4])
    together = iterative_fgsm(network, images, labels, epsilon=EPSILON, steps=3)
    alone = iterative_fgsm(network, images[:1], labels[:1], epsilon=EPSILON, steps=3)
    assert together[0] == pytest.approx(alone[0], abs=1e-6)
