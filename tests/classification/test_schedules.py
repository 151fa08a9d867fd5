"""Each schedule against torch's own, at every step; the warmup against its closed form."""

from __future__ import annotations

import pytest
import torch

from classification.schedules import Cosine, StepDecay, learning_rate_factor


def _torch_rates(scheduler: type, steps: int, **knobs: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduler(optimizer, **knobs)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_step_decay_is_torchs_multi_step() -> None:
    expected = _torch_rates(torch.optim.lr_scheduler.MultiStepLR, 120, milestones=[30, 60, 90])
    decay = StepDecay(milestones=(30, 60, 90))
    ours = [decay.factor(epoch, start=0, epochs=120) for epoch in range(120)]
    assert ours == pytest.approx(expected, rel=1e-12)


def test_cosine_is_torchs() -> None:
    expected = _torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 101, T_max=100)
    ours = [Cosine().factor(epoch, start=0, epochs=100) for epoch in range(101)]
    assert ours == pytest.approx(expected, abs=1e-12)


def test_warmup_is_linear_from_zero_and_cosine_starts_where_it_ends() -> None:
    rates = [
        learning_rate_factor(epoch, schedule=Cosine(), warmup_epochs=5, epochs=120)
        for epoch in (0, 1, 2.5, 5, 62.5, 120)
    ]
    # The cosine runs over the 115 epochs after the warmup; 62.5 is its middle.
    assert rates == pytest.approx([0, 0.2, 0.5, 1, 0.5, 0], abs=1e-12)


@pytest.mark.parametrize("milestones", [(60, 30), (30, 30), (0, 10)])
def test_milestones_must_increase(milestones: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="increasing"):
        StepDecay(milestones=milestones)
