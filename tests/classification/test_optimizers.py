"""Optimizers by name equal torch's and timm's own, step by step, and survive a checkpoint."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import timm.optim
import torch
from mmengine.optim import OptimWrapper
from timm.optim import get_optimizer_info, list_optimizers
from torch import nn

from backbones.catalog import UnknownNameError
from classification.optimizers import OPTIMIZERS, SGD, LookaheadKnobs, Optimizer
from classification.recipe import Recipe
from classification.tricks.large_batch import LargeBatch
from classification.tricks.lookahead import Lookahead
from classification.tricks.optimizer import UseOptimizer
from classification.tricks.weight_decay import WeightDecay

RATE, DECAY = 0.01, 0.05

# The class and its arguments, as the documentation of torch or timm has them.
OWN: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "nag": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgdw": (timm.optim.SGDW, {"momentum": 0.9, "nesterov": True}),
    "sgdp": (timm.optim.SGDP, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "adamax": (torch.optim.Adamax, {}),
    "adamp": (timm.optim.AdamP, {"wd_ratio": 0.01, "nesterov": True}),
    "nadam": (torch.optim.NAdam, {}),
    "nadamw": (timm.optim.NAdamW, {}),
    "radam": (torch.optim.RAdam, {}),
    "ranger": (lambda p, **k: timm.optim.Lookahead(torch.optim.RAdam(p, **k), 0.5, 6), {}),
    "adabelief": (timm.optim.AdaBelief, {"rectify": False}),
    "adan": (timm.optim.Adan, {}),
    "adopt": (timm.optim.Adopt, {}),
    "adafactor": (timm.optim.Adafactor, {}),
    "adagrad": (torch.optim.Adagrad, {"eps": 1e-8}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.9}),
    "rmsproptf": (timm.optim.RMSpropTF, {"alpha": 0.9, "momentum": 0.9}),
    "lamb": (timm.optim.Lamb, {}),
    "lars": (timm.optim.Lars, {"momentum": 0.9}),
    "lion": (timm.optim.Lion, {"foreach": True}),
    "laprop": (timm.optim.LaProp, {}),
    "madgrad": (timm.optim.MADGRAD, {"momentum": 0.9}),
    "novograd": (timm.optim.NvNovoGrad, {}),
}


@pytest.fixture
def plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the one kernel for all weights, whose rounding differs."""
    monkeypatch.setenv("TRICKLE_REFERENCE", "fused_optimizer")


def _model() -> nn.Module:
    """Wide enough for Adafactor to factor its second moments."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3))


def _decays(parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1


def _train(model: nn.Module, optimizer: Any, steps: range) -> None:
    """Steps of a toy regression whose data follow from the step."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(16, 24, generator=generator)
        targets = torch.randn(16, 3, generator=generator)
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()


def _assert_same(left: nn.Module, right: nn.Module) -> None:
    for (name, a), b in zip(left.named_parameters(), right.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_takes_the_steps_of_the_library_that_it_comes_from(
    name: str, plain_steps: None
) -> None:
    ours, theirs, untrained = _model(), _model(), _model()
    _train(
        ours,
        Optimizer(name=name, learning_rate=RATE, weight_decay=DECAY).build(ours, decays=_decays),
        range(7),
    )
    make, knobs = OWN[name]
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    _train(theirs, make(groups, lr=RATE, **knobs), range(7))
    _assert_same(ours, theirs)
    assert not torch.equal(ours[0].weight, untrained[0].weight)


@pytest.mark.parametrize("name", ["sgd", "nag", "momentum", "adam", "adamw", "adagrad"])
def test_one_kernel_for_all_weights_takes_the_same_steps(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for plain in ("", "fused_optimizer"):
        monkeypatch.setenv("TRICKLE_REFERENCE", plain)
        torch.manual_seed(0)
        layer = nn.Linear(30, 40)
        optimizer = Optimizer(name=name, learning_rate=RATE, weight_decay=DECAY)
        built = optimizer.build(layer, decays=_decays)
        assert {group["fused"] for group in built.param_groups} == {None if plain else True}
        for _ in range(7):
            # Given, since Adam makes a step of any rounding that stands for a gradient of 0.
            layer.weight.grad, layer.bias.grad = torch.randn(40, 30), torch.randn(40)
            built.step()
        found.append(layer)
    for fused, plain_one in zip(*(layer.parameters() for layer in found), strict=True):
        torch.testing.assert_close(fused, plain_one, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_training_takes_the_steps_of_one_that_was_never_stopped(name: str) -> None:
    optimizer = Optimizer(name=name, learning_rate=RATE, weight_decay=DECAY)
    whole, first, second = _model(), _model(), _model()
    _train(whole, optimizer.build(whole, decays=_decays), range(7))

    wrapper = OptimWrapper(optimizer.build(first, decays=_decays))
    _train(first, wrapper.optimizer, range(4))
    state = _through_a_file({"model": first.state_dict(), "optimizer": wrapper.state_dict()})

    wrapper = OptimWrapper(optimizer.build(second, decays=_decays))
    second.load_state_dict(state["model"])
    wrapper.load_state_dict(state["optimizer"])
    _train(second, wrapper.optimizer, range(4, 7))
    _assert_same(second, whole)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_lookahead_survives_a_checkpoint_between_two_of_its_own_steps(name: str, k: int) -> None:
    knobs = LookaheadKnobs(alpha=0.5, k=k)
    optimizer = Optimizer(name=name, learning_rate=RATE, weight_decay=DECAY, lookahead=knobs)
    whole, first, second = _model(), _model(), _model()
    _train(whole, optimizer.build(whole, decays=_decays), range(12))

    wrapper = OptimWrapper(optimizer.build(first, decays=_decays))
    _train(first, wrapper.optimizer, range(7))  # neither 3 nor 5 divides 7
    state = _through_a_file({"model": first.state_dict(), "optimizer": wrapper.state_dict()})

    wrapper = OptimWrapper(optimizer.build(second, decays=_decays))
    second.load_state_dict(state["model"])
    wrapper.load_state_dict(state["optimizer"])
    _train(second, wrapper.optimizer, range(7, 12))
    _assert_same(second, whole)


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """As the runner's checkpoints, which load without running code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_lookahead_by_hand() -> None:
    # Rate 1 and gradient 1: the fast weight goes 10, 9, 8, where the slow one starts; then to 6,
    # and back to half way, 7; then to 5, and back to half way between 7 and 5.
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 10.0)
    optimizer = Optimizer(
        name="momentum",
        momentum=0.0,
        learning_rate=1.0,
        weight_decay=0.0,
        lookahead=LookaheadKnobs(alpha=0.5, k=2),
    ).build(model, decays=_decays)
    seen = []
    for _ in range(6):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        seen.append(model.weight.item())
    assert seen == [9, 8, 7, 7, 6, 6]


def test_the_rate_that_is_set_on_a_group_reaches_the_optimizer_under_lookahead() -> None:
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    optimizer = Optimizer(
        name="momentum",
        momentum=0.0,
        learning_rate=1.0,
        weight_decay=0.0,
        lookahead=LookaheadKnobs(),
    ).build(model, decays=_decays)
    optimizer.load_state_dict(optimizer.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.25
    model.weight.grad = torch.ones(1, 1)
    optimizer.step()
    assert model.weight.item() == pytest.approx(before - 0.25)


def test_sgd_has_the_bits_of_torchs_nesterov_over_the_groups_it_always_had(
    plain_steps: None,
) -> None:
    ours, theirs = _model(), _model()
    optimizer = SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4).build(
        ours, decays=_decays, lr_scale=0.5
    )
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 1e-4},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    torchs = torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    assert type(optimizer) is torch.optim.SGD
    for ours_group, theirs_group in zip(optimizer.param_groups, torchs.param_groups, strict=True):
        for knob in set(theirs_group) - {"params"}:
            assert ours_group[knob] == theirs_group[knob], knob
    _train(ours, optimizer, range(8))
    _train(theirs, torchs, range(8))
    _assert_same(ours, theirs)


def test_sgd_without_nesterov_is_the_classical_momentum(plain_steps: None) -> None:
    assert SGD(learning_rate=0.1, nesterov=False).name == "momentum"
    ours, theirs = _model(), _model()
    _train(
        ours, SGD(learning_rate=0.1, nesterov=False).build(ours, decays=lambda p: True), range(5)
    )
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    _train(theirs, torchs, range(5))
    _assert_same(ours, theirs)


def test_knobs_reach_the_optimizer() -> None:
    model = _model()
    built = Optimizer(
        name="adamw", learning_rate=0.2, weight_decay=0.3, betas=(0.8, 0.95), eps=1e-4
    ).build(model, decays=_decays, lr_scale=0.5)
    decayed, free = built.param_groups
    assert (decayed["lr"], decayed["betas"], decayed["eps"]) == (0.1, (0.8, 0.95), 1e-4)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert len(decayed["params"]) == 2  # two linear layers
    assert len(free["params"]) == 4  # their biases, gamma and beta


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    model = _model()
    model[0].weight.requires_grad_(False)
    (only,) = SGD(learning_rate=0.1).build(model, decays=lambda p: True).param_groups
    assert len(only["params"]) == 5


def test_the_names_and_knobs_are_those_of_timm() -> None:
    for name in OPTIMIZERS:
        in_timm = {"nag": "sgd", "ranger": "radam"}.get(name, name)
        assert in_timm in list_optimizers()
        info = get_optimizer_info(in_timm)
        betas = tuple([0.9] * (info.num_betas if info.has_betas else 2))
        for knob, taken, value in (
            ("momentum", info.has_momentum, 0.5),
            ("betas", info.has_betas, betas),
            ("eps", info.has_eps, 1e-3),
        ):
            if taken:
                Optimizer(name=name, learning_rate=0.1, **{knob: value})
                continue
            with pytest.raises(ValueError, match=rf"{name} has no {knob}.*learning_rate"):
                Optimizer(name=name, learning_rate=0.1, **{knob: value})


def test_the_optimizers_of_the_literature_are_there() -> None:
    asked = "sgd nag adam adamw adafactor novograd lamb radam ranger momentum"
    assert set(asked.split()) <= set(OPTIMIZERS)


def test_a_mistyped_name_brings_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'adanw': the nearest are .*adamw"):
        Optimizer(name="adanw", learning_rate=0.1)
    with pytest.raises(UnknownNameError, match="novograd"):
        UseOptimizer("novogrd")


@pytest.mark.parametrize(
    ("message", "knobs"),
    [
        ("learning_rate must be positive, not 0", {"learning_rate": 0}),
        ("weight_decay must not be negative, not -1", {"weight_decay": -1}),
        (r"momentum must lie in \[0, 1\), not 1", {"momentum": 1}),
        ("above 0, not 0", {"momentum": 0}),
        (r"betas of adam must be 2 numbers in \[0, 1\)", {"name": "adam", "betas": (0.9, 1.0)}),
        (r"betas of adan must be 3 numbers", {"name": "adan", "betas": (0.9, 0.9)}),
        ("eps must not be negative, not -1", {"name": "adam", "eps": -1}),
    ],
)
def test_knobs_of_optimizers_out_of_range_are_refused(message: str, knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        Optimizer(**{"learning_rate": 0.1, **knobs})


def test_the_optimizer_trick_keeps_rate_and_decay_and_drops_the_knobs_of_the_one_before() -> None:
    changed = (Recipe() | UseOptimizer("adamw")).optimizer
    assert changed == Optimizer(name="adamw", learning_rate=0.1, weight_decay=1e-4)
    changed = (Recipe() | UseOptimizer("lamb", learning_rate=5e-3, weight_decay=0.02)).optimizer
    assert changed == Optimizer(name="lamb", learning_rate=5e-3, weight_decay=0.02)


def test_the_optimizer_trick_and_lookahead_go_together_in_either_order() -> None:
    expected = Optimizer(name="radam", learning_rate=0.1, lookahead=LookaheadKnobs(alpha=0.8, k=5))
    use, look = UseOptimizer("radam"), Lookahead(alpha=0.8, k=5)
    assert (Recipe() | use | look).optimizer == (Recipe() | look | use).optimizer == expected
    assert Recipe() | use | look == Recipe() | look | use


def test_large_batch_scales_the_rate_that_it_finds() -> None:
    recipe = Recipe() | UseOptimizer("adamw", learning_rate=1e-3) | LargeBatch(1024)
    assert recipe.optimizer.learning_rate == pytest.approx(4e-3)


def test_a_list_of_betas_is_the_same_as_a_tuple() -> None:
    listed = Recipe() | UseOptimizer("adam", betas=[0.8, 0.9])
    assert listed == Recipe() | UseOptimizer("adam", betas=(0.8, 0.9))
    assert listed.optimizer.betas == (0.8, 0.9)


def test_weight_decay_acts_on_the_decayed_group_alone() -> None:
    recipe = Recipe() | WeightDecay(0.3)
    decayed, free = recipe.optimizer.build(_model(), decays=_decays).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert recipe.optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Gradient 0, weight 2, rate 0.1, decay 0.5. L2: the gradient is 0.5 * 2, and SGD's first
        # Nesterov step 0.1 (1 + 0.9) 1; Adam's is the rate, whatever the gradient. Decoupled: the
        # weight shrinks by 0.1 * 0.5.
        ("sgd", 2 - 0.19),
        ("adam", 2 - 0.1),
        ("adamw", 2 * 0.95),
    ],
)
def test_weight_decay_is_l2_or_decoupled_as_the_optimizer_has_it(
    name: str, expected: float
) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    recipe = Recipe() | UseOptimizer(name) | WeightDecay(0.5)
    optimizer = recipe.optimizer.build(model, decays=_decays)
    model.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert model.weight.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lookahead(alpha=0),
        lambda: Lookahead(alpha=1.5),
        lambda: Lookahead(k=0),
        lambda: Lookahead(k=2.5),  # type: ignore[arg-type]
        lambda: WeightDecay(-1e-4),
        lambda: UseOptimizer("adam", learning_rate=-1),
        lambda: UseOptimizer("adam", momentum=0.9),
    ],
)
def test_knobs_of_the_optimizers_tricks_out_of_range_are_refused(
    make: Callable[[], object],
) -> None:
    with pytest.raises(ValueError, match="not"):
        make()


def test_naming_an_optimizer_needs_neither_torch_nor_timm() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from classification.optimizers import SGD, Optimizer; "
        "from classification.tricks.optimizer import UseOptimizer; "
        "Optimizer(name='lamb', learning_rate=1); SGD(learning_rate=1); UseOptimizer('ranger'); "
        "print({'torch', 'timm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
