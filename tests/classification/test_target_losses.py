"""Binary cross-entropy against timm, and distillation against gradients worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.loss import BinaryCrossEntropy as TimmBinaryCrossEntropy
from torch.nn.functional import cross_entropy, kl_div, one_hot

from classification.recipe import Recipe
from classification.tricks.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
from classification.tricks.distillation import Distillation, distillation_loss

LAWS = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize("threshold", [None, 0.0, 0.2])
def test_binary_cross_entropy_is_timms(threshold: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 7, generator=generator).double()
    labels = one_hot(torch.randint(0, 7, (6,), generator=generator), 7).double()
    mixed = 0.85 * labels + 0.15 * labels.flip(0)
    theirs = TimmBinaryCrossEntropy(smoothing=0.0, target_threshold=threshold)
    torch.testing.assert_close(
        binary_cross_entropy(logits, mixed, threshold), theirs(logits, mixed)
    )


def test_binary_cross_entropy_by_hand() -> None:
    # Logits of 0 are probabilities of 1/2 for every class, whatever the targets: log 2.
    targets = torch.tensor([[0.7, 0.3, 0.0]])
    assert binary_cross_entropy(torch.zeros(1, 3), targets).item() == pytest.approx(math.log(2))
    # Targets 0.7 and 0.3 both count as present above 0.2; 0.2 itself does not.
    logits = torch.tensor([[math.log(3), 0.0, -math.log(3)]])  # probabilities 3/4, 1/2, 1/4
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(3 / 4)) / 3
    assert binary_cross_entropy(logits, targets, 0.2).item() == pytest.approx(expected)
    edge = torch.tensor([[0.8, 0.2, 0.0]], dtype=torch.double)
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(3 / 4)) / 3
    assert binary_cross_entropy(logits.double(), edge, 0.2).item() == pytest.approx(expected)


def test_threshold_is_exclusive() -> None:
    logits = torch.tensor([[2.0, -1.0]])
    at, above = torch.tensor([[1.0, 0.25]]), torch.tensor([[1.0, 0.2500001]])
    assert binary_cross_entropy(logits, at, 0.25) != binary_cross_entropy(logits, above, 0.25)


def test_binary_cross_entropy_sets_the_recipes_loss() -> None:
    recipe = Recipe() | BinaryCrossEntropy(0.2)
    assert (recipe.loss, recipe.loss_threshold) == ("binary_cross_entropy", 0.2)
    plain = recipe - BinaryCrossEntropy
    assert (plain.loss, plain.loss_threshold) == ("cross_entropy", None)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\) or be None, not"):
        BinaryCrossEntropy(threshold)


logit_lists = st.lists(st.floats(-30, 30), min_size=4, max_size=4)


@LAWS
@given(
    student=st.lists(logit_lists, min_size=3, max_size=3),
    teacher=st.lists(logit_lists, min_size=3, max_size=3),
    temperature=st.floats(0.5, 50),
    weight=st.floats(0.1, 10),
)
def test_distillation_gradient_by_hand(
    student: list[list[float]], teacher: list[list[float]], temperature: float, weight: float
) -> None:
    # d/dz of w T^2 l(softmax(r/T), softmax(z/T)), mean over B: w T (softmax(z/T)-softmax(r/T))/B.
    z = torch.tensor(student, dtype=torch.double, requires_grad=True)
    r = torch.tensor(teacher, dtype=torch.double)
    trick = Distillation("resnet152d_smooth", temperature=temperature, weight=weight)
    (gradient,) = torch.autograd.grad(trick.loss(z, r), z)
    difference = (z / temperature).softmax(1) - (r / temperature).softmax(1)
    torch.testing.assert_close(gradient, weight * temperature * difference / 3)


def test_distillation_differs_from_the_divergence_by_the_teachers_entropy_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    z, r = (torch.randn(5, 8, generator=generator).double() for _ in range(2))
    z.requires_grad_()
    for temperature in (1.0, 4.0, 20.0):
        ours = distillation_loss(z, r, temperature=temperature)
        divergence = temperature**2 * kl_div(
            (z / temperature).log_softmax(1),
            (r / temperature).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        soft = (r / temperature).softmax(1)
        entropy = -(soft * soft.log()).sum(1).mean()
        torch.testing.assert_close(ours - divergence, temperature**2 * entropy)
        gradients = [torch.autograd.grad(loss, z)[0] for loss in (ours, divergence)]
        torch.testing.assert_close(*gradients)


def test_a_hot_teacher_compares_the_logits_themselves() -> None:
    # Hinton et al. 2015, section 2.1: for high T the gradient is (z - r) / (K B), of logits
    # with zero mean, whatever T is.
    z = torch.tensor([[1.0, -2.0, 1.0]], dtype=torch.double, requires_grad=True)
    r = torch.tensor([[-1.0, 0.5, 0.5]], dtype=torch.double)
    (gradient,) = torch.autograd.grad(distillation_loss(z, r, temperature=1e4), z)
    torch.testing.assert_close(gradient, (z - r).detach() / 3, rtol=1e-3, atol=0)


def test_a_sure_teacher_at_temperature_one_is_the_label() -> None:
    z = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.double)
    sure = torch.tensor([[0.0, 200.0, 0.0]], dtype=torch.double)
    found = Distillation("timm:resnet50@weights.pth", temperature=1, weight=5).loss(z, sure)
    torch.testing.assert_close(found, 5 * cross_entropy(z, torch.tensor([1])))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"temperature": 0}, "temperature must be positive, not 0"),
        ({"temperature": -20}, "temperature must be positive, not -20"),
        ({"weight": 0}, "weight must be positive, not 0"),
        ({"weight": float("inf")}, "weight must be positive, not inf"),
        ({"teacher": ""}, "teacher must be a backbone name"),
    ],
)
def test_knobs_of_distillation_out_of_range_are_refused(knobs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Distillation(**{"teacher": "resnet152d_smooth", **knobs})
