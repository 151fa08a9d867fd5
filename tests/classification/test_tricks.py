"""The maths of each trick against timm, torch, closed forms or values worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.data.mixup import mixup_target
from torch.nn.functional import cross_entropy, one_hot

from backbones.create import create_backbone
from classification.model import Classifier
from classification.recipe import Recipe
from classification.tricks import (
    TRICKS,
    Distillation,
    Epochs,
    LabelSmoothing,
    LargeBatch,
    Mixup,
    NoBiasDecay,
    Warmup,
    ZeroGamma,
)
from classification.tricks.distillation import distillation_loss
from classification.tricks.label_smoothing import smooth_labels
from classification.tricks.mixup import mixup


def test_label_smoothing_by_hand() -> None:
    # Equation 4 with epsilon 0.1 and K = 5: 0.9 for the class, 0.1 / 4 for the others.
    smoothed = smooth_labels(one_hot(torch.tensor([2]), 5).double(), 0.1)
    assert smoothed.tolist() == [pytest.approx([0.025, 0.025, 0.9, 0.025, 0.025])]


def test_label_smoothing_is_torchs_after_its_other_definition() -> None:
    logits, labels, k, epsilon = torch.randn(8, 10).double(), torch.randint(0, 10, (8,)), 10, 0.1
    ours = cross_entropy(logits, smooth_labels(one_hot(labels, k).double(), epsilon))
    theirs = cross_entropy(logits, labels, label_smoothing=epsilon * k / (k - 1))
    torch.testing.assert_close(ours, theirs)


def test_optimal_logit_gap_under_smoothing() -> None:
    # Section 5.2: the optimum is log((K - 1)(1 - epsilon) / epsilon) above the other logits.
    k, epsilon = 10, 0.1
    gap = math.log((k - 1) * (1 - epsilon) / epsilon)
    logits = torch.zeros(1, k, dtype=torch.double)
    logits[0, 3] = gap
    logits.requires_grad_()
    loss = cross_entropy(logits, smooth_labels(one_hot(torch.tensor([3]), k).double(), epsilon))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.abs().max().item() < 1e-12


def test_mixup_with_the_reversed_batch_is_timms() -> None:
    images, labels, lam = torch.randn(6, 3, 4, 4), torch.randint(0, 5, (6,)), 0.3
    perm = torch.arange(5, -1, -1)
    mixed, targets = mixup(images, one_hot(labels, 5).float(), lam=lam, perm=perm)
    # timm.data.mixup.Mixup._mix_batch: x * lam + x.flip(0) * (1 - lam).
    torch.testing.assert_close(mixed, images * lam + images.flip(0) * (1 - lam))
    torch.testing.assert_close(targets, mixup_target(labels, 5, lam=lam, smoothing=0.0))


def test_mixup_draws_lambda_from_beta() -> None:
    rng = np.random.default_rng(0)
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    targets = torch.eye(2)
    lams = []
    for _ in range(4000):
        mixed, _ = Mixup(0.2).transform_batch(images, targets, rng)
        value = float(mixed[1])
        if value not in (1.0,):  # the identity permutation says nothing of lambda
            lams.append(value)
    # Variance of Beta(a, a) is 1 / (4 (2 a + 1)).
    assert len(lams) > 1500
    assert np.mean(lams) == pytest.approx(0.5, abs=0.04)
    assert np.var(lams) == pytest.approx(1 / (4 * 1.4), rel=0.06)


def test_distillation_gradient_by_hand() -> None:
    # d/dz of T^2 l(softmax(r/T), softmax(z/T)), mean over B: T (softmax(z/T) - softmax(r/T)) / B.
    temperature, z, r = (
        20.0,
        torch.randn(4, 6).double().requires_grad_(),
        torch.randn(4, 6).double(),
    )
    (gradient,) = torch.autograd.grad(distillation_loss(z, r, temperature=temperature), z)
    p, q = (z / temperature).softmax(1), (r / temperature).softmax(1)
    torch.testing.assert_close(gradient, temperature * (p - q) / 4)


def test_large_batch_scales_the_rate_linearly() -> None:
    recipe = Recipe() | LargeBatch(1024)
    assert recipe.batch_size == 1024
    assert recipe.optimizer.learning_rate == pytest.approx(0.4)  # 0.1 * 1024 / 256


def test_no_bias_decay_exempts_every_vector_of_resnet50d() -> None:
    classifier = Classifier(create_backbone("resnet50d"), 1000)
    optimizer = Recipe().optimizer.build(classifier, decays=NoBiasDecay().decays)
    decayed, free = optimizer.param_groups
    modules = list(classifier.modules())
    weights = [m.weight for m in modules if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    norms = [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    assert sum(p.numel() for p in decayed["params"]) == sum(w.numel() for w in weights)
    # gamma and beta of each norm, and the bias of the head
    assert sum(p.numel() for p in free["params"]) == sum(2 * n.num_features for n in norms) + 1000
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)


def test_zero_gamma_makes_residual_branches_vanish() -> None:
    classifier = Classifier(create_backbone("resnet50d", width=0.25), 10)
    assert ZeroGamma().initialize(classifier, seed=0) is None
    zeroed = [
        m
        for m in classifier.modules()
        if isinstance(m, torch.nn.BatchNorm2d) and not m.weight.any()
    ]
    assert len(zeroed) == 3 + 4 + 6 + 3  # one in each bottleneck of ResNet-50


@pytest.mark.parametrize(
    "make",
    [
        lambda: LabelSmoothing(1.0),
        lambda: LabelSmoothing(0.0),
        lambda: Mixup(0.0),
        lambda: Distillation("resnet50d_smooth", temperature=0),
        lambda: Warmup(0),
        lambda: LargeBatch(0),
        lambda: Epochs(-1),
        lambda: Recipe() | Warmup(120),
    ],
)
def test_knobs_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="not"):
        make()


@pytest.mark.parametrize("name", TRICKS)
def test_every_trick_has_its_name_and_a_whole_card(name: str) -> None:
    trick = TRICKS[name]
    assert trick.name == name
    assert trick.card.source.count(",") >= 1
    assert trick.card.effect
    assert set(trick.card.conflicts) <= set(TRICKS)
    assert trick.__doc__


def test_a_batch_keeps_rows_that_sum_to_one_through_all_target_tricks() -> None:
    targets = one_hot(torch.tensor([0, 1, 2, 3]), 4).double()
    targets = LabelSmoothing(0.1).transform_targets(targets)
    _, mixed = Mixup(0.2).transform_batch(
        torch.zeros(4, 3, 2, 2, dtype=torch.double), targets, np.random.default_rng(3)
    )
    assert SimpleNamespace(sums=mixed.sum(1).tolist()).sums == pytest.approx([1.0] * 4)
