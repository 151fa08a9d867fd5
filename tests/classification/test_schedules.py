"""Each schedule against its closed form and against torch's, timm's or scikit-learn's own, at
every step; the laws that all of them obey; the warmup and the cooldown around them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDRegressor
from timm.scheduler import CosineLRScheduler, PolyLRScheduler, StepLRScheduler
from torch.optim import lr_scheduler

from classification.recipe import Recipe
from classification.schedules import learning_rate_factor
from classification.tricks.cosine_decay import CosineDecay
from classification.tricks.exponential_decay import ExponentialDecay
from classification.tricks.inverse_decay import InverseDecay
from classification.tricks.linear_decay import LinearDecay
from classification.tricks.one_cycle import OneCycle
from classification.tricks.polynomial_decay import PolynomialDecay
from classification.tricks.schedule import Schedule
from classification.tricks.step_decay import StepDecay
from classification.tricks.triangular import Triangular
from classification.tricks.warm_restarts import WarmRestarts, restart_cycle
from classification.tricks.warmup import Warmup


def _optimizer(rate: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def _torch_rates(scheduler: type, steps: int, *, rate: float = 1.0, **knobs: Any) -> list[float]:
    """The rate at steps 0, 1, ..., steps - 1."""
    optimizer = _optimizer(rate)
    schedule = scheduler(optimizer, **knobs)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def _timm_rates(
    scheduler: type, epochs: list[int], *, rate: float = 1.0, **knobs: Any
) -> list[float]:
    optimizer = _optimizer(rate)
    schedule = scheduler(optimizer, **knobs)
    rates = []
    for epoch in epochs:
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def _factors(schedule: Schedule, times: Any, *, epochs: float, start: float = 0) -> list[float]:
    return [schedule.factor(time, start=start, epochs=epochs) for time in times]


def test_step_decay_is_torchs_multi_step() -> None:
    expected = _torch_rates(lr_scheduler.MultiStepLR, 120, milestones=[30, 60, 90])
    ours = _factors(StepDecay((30, 60, 90)), range(120), epochs=120)
    assert ours == pytest.approx(expected, rel=1e-12)


def test_step_decay_is_timms() -> None:
    epochs = list(range(120))
    expected = _timm_rates(StepLRScheduler, epochs, decay_t=30, decay_rate=0.1)
    ours = _factors(StepDecay((30, 60, 90)), epochs, epochs=120)
    assert ours == pytest.approx(expected, rel=1e-12)


def test_cosine_is_torchs_and_its_closed_form() -> None:
    ours = _factors(CosineDecay(), range(101), epochs=100)
    torchs = _torch_rates(lr_scheduler.CosineAnnealingLR, 101, T_max=100)
    assert ours == pytest.approx(torchs, abs=1e-12)
    assert ours == pytest.approx(
        [0.5 * (1 + math.cos(math.pi * t / 100)) for t in range(101)], abs=1e-15
    )


def test_cosine_that_ends_above_zero_is_torchs() -> None:
    expected = _torch_rates(lr_scheduler.CosineAnnealingLR, 101, T_max=100, eta_min=0.2)
    assert _factors(CosineDecay(final=0.2), range(101), epochs=100) == pytest.approx(expected)


def test_cosine_under_the_warmup_with_a_cooldown_is_timms_for_the_numbers_of_usi() -> None:
    rate, epochs = 2e-3, list(range(310))
    expected = _timm_rates(
        CosineLRScheduler,
        epochs,
        rate=rate,
        t_initial=300,
        warmup_t=5,
        warmup_lr_init=1e-4,
        lr_min=1e-6,
    )
    schedule = CosineDecay(final=1e-6 / rate, through_warmup=True)
    ours = [
        rate
        * learning_rate_factor(
            epoch, schedule=schedule, warmup_epochs=5, warmup_start=1e-4 / rate, epochs=300
        )
        for epoch in epochs
    ]
    assert ours == pytest.approx(expected, rel=1e-9)


def test_exponential_decay_is_torchs_and_its_closed_form() -> None:
    # Inception-V3's: 0.94 every two epochs.
    ours = _factors(ExponentialDecay(gamma=0.94, period=2), range(120), epochs=120)
    torchs = _torch_rates(lr_scheduler.ExponentialLR, 120, gamma=0.94**0.5)
    assert ours == pytest.approx(torchs, rel=1e-9)
    assert ours == pytest.approx([0.94 ** (t / 2) for t in range(120)], rel=1e-12)


def test_exponential_decay_in_steps_is_torchs_and_timms() -> None:
    schedule = ExponentialDecay(gamma=0.94, period=2, staircase=True)
    ours = _factors(schedule, range(120), epochs=120)
    torchs = _torch_rates(lr_scheduler.StepLR, 120, step_size=2, gamma=0.94)
    assert ours == pytest.approx(torchs, rel=1e-9)
    timms = _timm_rates(StepLRScheduler, list(range(120)), decay_t=2, decay_rate=0.94)
    assert ours == pytest.approx(timms, rel=1e-9)
    assert schedule.factor(3.999, start=0, epochs=120) == pytest.approx(0.94)


def test_exponential_decay_counts_from_the_end_of_the_warmup() -> None:
    ours = _factors(ExponentialDecay(gamma=0.5, period=2), (5, 7, 9), start=5, epochs=120)
    assert ours == pytest.approx([1, 0.5, 0.25])


def test_inverse_decay_with_gamma_1_is_scikit_learns() -> None:
    # One sample of x = 1 and a target of 1: the weight moves by the rate times (1 - weight).
    learner = SGDRegressor(
        learning_rate="invscaling",
        eta0=0.5,
        power_t=0.75,
        penalty=None,
        fit_intercept=False,
        shuffle=False,
    )
    rates, weight = [], 0.0
    for _ in range(40):
        learner.partial_fit(np.ones((1, 1)), np.ones(1))
        rates.append((learner.coef_[0] - weight) / (1 - weight))
        weight = learner.coef_[0]
    ours = _factors(InverseDecay(gamma=1, power=0.75), range(40), epochs=40)
    assert [0.5 * factor for factor in ours] == pytest.approx(rates, rel=1e-6)


def test_inverse_decay_by_hand() -> None:
    # (1 + 0.5 t)^-2 at t = 0, 2, 6, counted from the warmup's end at epoch 4.
    ours = _factors(InverseDecay(gamma=0.5, power=2), (4, 6, 10), start=4, epochs=20)
    assert ours == pytest.approx([1, 1 / 4, 1 / 16])


@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 2.0])
def test_polynomial_decay_is_torchs_and_timms(power: float) -> None:
    ours = _factors(PolynomialDecay(power=power), range(101), epochs=100)
    torchs = _torch_rates(lr_scheduler.PolynomialLR, 101, total_iters=100, power=power)
    assert ours == pytest.approx(torchs, abs=1e-9)
    ours = _factors(PolynomialDecay(power=power, final=0.1), range(101), epochs=100)
    timms = _timm_rates(PolyLRScheduler, list(range(101)), t_initial=100, power=power, lr_min=0.1)
    assert ours == pytest.approx(timms, abs=1e-12)


def test_linear_decay_is_torchs_and_its_closed_form() -> None:
    ours = _factors(LinearDecay(final=0.25), range(81), epochs=80)
    torchs = _torch_rates(
        lr_scheduler.LinearLR, 81, start_factor=1, end_factor=0.25, total_iters=80
    )
    assert ours == pytest.approx(torchs, rel=1e-9)
    assert _factors(LinearDecay(), (10, 30, 50), start=10, epochs=50) == [1, 0.5, 0]


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_warm_restarts_are_torchs(multiplier: int) -> None:
    expected = _torch_rates(
        lr_scheduler.CosineAnnealingWarmRestarts, 150, T_0=10, T_mult=multiplier, eta_min=0.05
    )
    schedule = WarmRestarts(period=10, multiplier=multiplier, final=0.05)
    assert _factors(schedule, range(150), epochs=150) == pytest.approx(expected, abs=1e-12)


def test_warm_restarts_by_hand() -> None:
    # Cycles of 10, 20 and 40 epochs after a warmup of 5: their beginnings and their middles.
    schedule = WarmRestarts(period=10, multiplier=2)
    times = (5, 10, 15, 25, 35, 55)
    assert _factors(schedule, times, start=5, epochs=75) == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5])


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("period", [10, 0.1])
def test_a_run_that_ends_with_a_cycle_stays_at_the_end_of_it(
    multiplier: float, period: float
) -> None:
    schedule = WarmRestarts(period=period, multiplier=multiplier, final=0.01)
    epochs = period * (3 if multiplier == 1 else 1 + 2 + 4)
    # The cooldown holds this value; a restart would multiply the rate by 100.
    assert schedule.factor(epochs, start=0, epochs=epochs) == pytest.approx(0.01)
    assert schedule.factor(epochs * (1 - 1e-6), start=0, epochs=epochs) < 0.011


@settings(max_examples=30, deadline=None)
@given(
    t=st.floats(0, 1000),
    period=st.floats(0.01, 100),
    multiplier=st.one_of(st.just(1.0), st.floats(1.01, 5)),
)
def test_a_cycle_contains_its_time(t: float, period: float, multiplier: float) -> None:
    current, length = restart_cycle(t, period=period, multiplier=multiplier)
    assert 0 <= current <= length * (1 + 1e-9)
    assert length >= period * (1 - 1e-9)
    cycle = round(math.log(length / period, multiplier)) if multiplier > 1 else t // period
    assert length == pytest.approx(period * multiplier**cycle if multiplier > 1 else period)
    begin = sum(period * multiplier**i for i in range(round(cycle))) if multiplier > 1 else None
    if begin is not None:
        assert begin + current == pytest.approx(t, abs=1e-6)


def test_one_cycle_is_torchs() -> None:
    steps = 200
    expected = _torch_rates(
        lr_scheduler.OneCycleLR,
        steps,
        max_lr=1.0,
        total_steps=steps,
        pct_start=0.3,
        anneal_strategy="cos",
        div_factor=25,
        final_div_factor=1e4,
        cycle_momentum=False,
    )
    # torch is at the top at step 0.3 * 200 - 1 and at the end at step 199.
    schedule = OneCycle(share_up=(0.3 * steps - 1) / (steps - 1))
    ours = _factors(schedule, range(steps), epochs=steps - 1)
    assert ours == pytest.approx(expected, abs=1e-12)


def test_one_cycle_by_hand() -> None:
    schedule = OneCycle(share_up=0.25, initial=0.2, final=0.1)
    # Half way up between 0.2 and 1, the top, half way down between 1 and 0.1, the end.
    times = (0, 10, 20, 50, 80)
    assert _factors(schedule, times, epochs=80) == pytest.approx([0.2, 0.6, 1, 0.55, 0.1])


def test_triangular_is_torchs() -> None:
    expected = _torch_rates(
        lr_scheduler.CyclicLR,
        100,
        base_lr=0.25,
        max_lr=1.0,
        step_size_up=8,
        mode="triangular",
        cycle_momentum=False,
    )
    schedule = Triangular(period=16, lowest=0.25)
    assert _factors(schedule, range(100), epochs=100) == pytest.approx(expected, abs=1e-12)


def test_triangular_by_hand() -> None:
    schedule = Triangular(period=4, lowest=0.2)
    assert _factors(schedule, range(6), epochs=8) == pytest.approx([0.2, 0.6, 1, 0.6, 0.2, 0.6])


share = st.floats(0, 0.99)
SCHEDULES = st.one_of(
    st.builds(StepDecay, st.just((3.0, 7.0)), st.floats(0.01, 0.99)),
    st.builds(CosineDecay, final=share, through_warmup=st.booleans()),
    st.builds(
        ExponentialDecay,
        gamma=st.floats(0.01, 0.99),
        period=st.floats(0.1, 50),
        staircase=st.booleans(),
    ),
    st.builds(InverseDecay, gamma=st.floats(1e-4, 10), power=st.floats(0.1, 3)),
    st.builds(PolynomialDecay, power=st.floats(0.1, 5), final=share),
    st.builds(LinearDecay, final=share),
    st.builds(
        WarmRestarts,
        period=st.floats(0.1, 50),
        multiplier=st.one_of(st.just(1.0), st.floats(1, 3)),
        final=share,
    ),
    st.builds(OneCycle, share_up=st.floats(0.01, 0.99), initial=st.floats(0.001, 0.99)),
    st.builds(Triangular, period=st.floats(0.1, 50), lowest=share),
)


@settings(max_examples=30, deadline=None)
@given(schedule=SCHEDULES, start=st.floats(0, 20), length=st.floats(1, 400), done=st.floats(0, 1))
def test_the_factor_of_every_schedule_lies_between_0_and_1_at_every_time(
    schedule: Schedule, start: float, length: float, done: float
) -> None:
    for share_done in (0.0, done, 1.0):
        epoch = start + share_done * length
        factor = schedule.factor(epoch, start=start, epochs=start + length)
        assert math.isfinite(factor)
        assert -1e-12 <= factor <= 1 + 1e-12


@settings(max_examples=30, deadline=None)
@given(
    schedule=st.one_of(
        st.builds(CosineDecay, final=share),
        st.builds(ExponentialDecay, gamma=st.floats(0.1, 0.99), period=st.floats(0.5, 50)),
        st.builds(InverseDecay, gamma=st.floats(0.01, 1), power=st.floats(0.1, 2)),
        st.builds(PolynomialDecay, power=st.floats(1, 5), final=share),
        st.builds(LinearDecay, final=share),
    ),
    start=st.floats(0, 20),
    done=st.floats(0, 0.999),
)
def test_a_decay_begins_at_the_base_rate_and_never_rises_or_jumps(
    schedule: Schedule, start: float, done: float
) -> None:
    epochs, step = start + 100, 1e-4
    epoch = start + 100 * done
    assert schedule.factor(start, start=start, epochs=epochs) == pytest.approx(1)
    before = schedule.factor(epoch, start=start, epochs=epochs)
    after = schedule.factor(epoch + step, start=start, epochs=epochs)
    assert after <= before + 1e-12
    assert before - after < 10 * step  # the steepest above, 0.1^(t / 0.5), falls by 4.6 an epoch


@settings(max_examples=30, deadline=None)
@given(
    schedule=st.one_of(
        st.builds(OneCycle, share_up=st.floats(0.1, 0.9)),
        st.builds(Triangular, period=st.floats(1, 50), lowest=share),
    ),
    epoch=st.floats(0, 99.9),
)
def test_cycles_go_up_and_down_without_a_jump(schedule: Schedule, epoch: float) -> None:
    step = 1e-4
    before, after = _factors(schedule, (epoch, epoch + step), epochs=100)
    assert abs(after - before) <= 2.01 * step


def test_warmup_is_linear_from_zero_and_cosine_starts_where_it_ends() -> None:
    rates = [
        learning_rate_factor(epoch, schedule=CosineDecay(), warmup_epochs=5, epochs=120)
        for epoch in (0, 1, 2.5, 5, 62.5, 120)
    ]
    # The cosine runs over the 115 epochs after the warmup; 62.5 is its middle.
    assert rates == pytest.approx([0, 0.2, 0.5, 1, 0.5, 0], abs=1e-12)


def test_warmup_may_start_above_zero() -> None:
    rates = [
        learning_rate_factor(
            epoch, schedule=LinearDecay(), warmup_epochs=4, warmup_start=0.2, epochs=8
        )
        for epoch in (0, 2, 4, 6)
    ]
    assert rates == pytest.approx([0.2, 0.6, 1, 0.5])


def test_in_the_cooldown_the_schedules_last_value_holds() -> None:
    schedule = CosineDecay(final=0.05)
    rates = [
        learning_rate_factor(epoch, schedule=schedule, warmup_epochs=5, epochs=120)
        for epoch in (120, 121, 130)
    ]
    assert rates == pytest.approx([0.05] * 3)


@pytest.mark.parametrize("milestones", [(60, 30), (30, 30), (0, 10), ()])
def test_milestones_must_increase(milestones: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="increasing"):
        StepDecay(milestones=milestones)


@pytest.mark.parametrize(
    ("schedule", "knobs"),
    [
        (StepDecay, {"gamma": 1.0}),
        (CosineDecay, {"final": 1.0}),
        (CosineDecay, {"final": -0.1}),
        (ExponentialDecay, {"gamma": 1.0}),
        (ExponentialDecay, {"gamma": 0.0}),
        (ExponentialDecay, {"period": 0.0}),
        (ExponentialDecay, {"period": math.nan}),
        (InverseDecay, {"gamma": 0.0}),
        (InverseDecay, {"power": -1.0}),
        (PolynomialDecay, {"power": 0.0}),
        (PolynomialDecay, {"final": 1.0}),
        (LinearDecay, {"final": 1.0}),
        (WarmRestarts, {"period": 0.0}),
        (WarmRestarts, {"multiplier": 0.9}),
        (WarmRestarts, {"final": 1.0}),
        (OneCycle, {"share_up": 1.0}),
        (OneCycle, {"initial": 0.0}),
        (OneCycle, {"final": 1.0}),
        (Triangular, {"period": -1.0}),
        (Triangular, {"lowest": 1.0}),
    ],
)
def test_knobs_of_schedules_that_are_out_of_range_are_refused_by_name(
    schedule: type[Schedule], knobs: dict[str, float]
) -> None:
    ((knob, value),) = knobs.items()
    with pytest.raises(ValueError, match=rf"{knob} must .*not {value}"):
        schedule(**knobs)


@pytest.mark.parametrize("schedule", [OneCycle(), Triangular()])
def test_a_schedule_that_rises_from_a_low_rate_by_itself_conflicts_with_the_warmup(
    schedule: Schedule,
) -> None:
    with pytest.raises(ValueError, match=rf"(?s)(warmup.*{schedule.name}|{schedule.name}.*warmup)"):
        Recipe() | Warmup(5) | schedule


def test_a_recipe_has_one_schedule() -> None:
    assert (Recipe() | LinearDecay()).schedule == LinearDecay()
    with pytest.raises(ValueError, match=r"linear_decay.*cosine_decay"):
        Recipe() | CosineDecay() | LinearDecay()


@pytest.mark.parametrize(
    "schedule",
    [
        StepDecay,
        CosineDecay,
        ExponentialDecay,
        InverseDecay,
        PolynomialDecay,
        LinearDecay,
        WarmRestarts,
        OneCycle,
        Triangular,
    ],
)
def test_every_schedule_is_of_the_chapter_of_schedules(schedule: type[Schedule]) -> None:
    assert schedule.kind == "schedule"
