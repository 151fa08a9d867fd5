"""The learning rate of a run: warmup, schedule, cooldown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from classification.tricks.schedule import Schedule


def learning_rate_factor(
    epoch: float,
    *,
    schedule: Schedule,
    warmup_epochs: float,
    epochs: float,
    warmup_start: float = 0.0,
) -> float:
    """Linear over the warmup (He et al. 2019, section 3.1: from 0), then the schedule.

    epoch: how far the run is; after `epochs` begins the cooldown, in which the schedule's last
    value holds. warmup_start: share of the base rate at epoch 0. Returns the factor on the base
    learning rate.
    """
    if epoch < warmup_epochs:
        return warmup_start + (1 - warmup_start) * epoch / warmup_epochs
    return schedule.factor(min(epoch, epochs), start=warmup_epochs, epochs=epochs)
