"""Curves of the learning rate over a training of 120 epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.schedules import learning_rate_factor
from classification.tricks.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPOCHS, WARMUP = 120, 5

_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "step_decay": ({}, {"milestones": (60, 90), "gamma": 0.2}),
    "cosine_decay": ({}, {"through_warmup": True}, {"final": 0.1}),
    "exponential_decay": ({}, {"period": 8.0, "staircase": True}),
    "inverse_decay": ({}, {"power": 0.5}, {"power": 1.0}),
    "linear_decay": ({}, {"final": 0.1}),
    "polynomial_decay": ({"power": 0.9}, {"power": 2.0}, {"power": 4.0}),
    "warm_restarts": (
        {"period": 115 / 7, "multiplier": 2.0},
        {"period": 115 / 4, "multiplier": 1.0},
    ),
    "one_cycle": ({}, {"share_up": 0.5}),
    "triangular": ({"period": 24.0}, {"period": 8.0, "lowest": 0.5}),
}
"""Knobs that are drawn beside each other; those that are not named keep their defaults."""


def _plot(
    lines: Sequence[tuple[Schedule, str]], *, warmup: float, cooldown: float = 0, end: float = 0
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    epochs = np.linspace(0, end or EPOCHS + cooldown, 2401)
    for number, (schedule, label) in enumerate(lines):
        factors = [
            learning_rate_factor(float(e), schedule=schedule, warmup_epochs=warmup, epochs=EPOCHS)
            for e in epochs
        ]
        axes.plot(epochs, factors, label=label, linestyle=("-", "--", ":")[number % 3])
    axes.set(xlabel="epoch", ylabel="learning rate / base rate", ylim=(-0.03, 1.05))
    axes.margins(x=0.01)
    if any(label for _, label in lines):
        # Above the axes: some schedule crosses every place within.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(lines))
    return figure


def _knobs(changes: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{knob} {text(value)}" for knob, value in changes.items()) or "defaults"


def curves(trick: Schedule) -> Figure:
    """The factor on the base learning rate over 120 epochs."""
    variants = _VARIANTS.get(trick.name, ({},))
    warmup = 0 if "warmup" in trick.card.conflicts else WARMUP
    figure = _plot([(replace(trick, **v), _knobs(v)) for v in variants], warmup=warmup)
    note = f"the first {warmup}: warmup" if warmup else "without warmup, with which it conflicts"
    figure.axes[0].set_xlabel(f"epoch ({note})")
    return figure


def warmup(trick: Any) -> Figure:
    """The first 20 of 120 epochs of a cosine decay, with and without warmup."""
    from matplotlib.figure import Figure

    from classification.tricks.cosine_decay import CosineDecay

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    epochs = np.linspace(0, 20, 801)
    lines = [
        (f"Warmup(epochs={trick.epochs:g})", trick.epochs, 0.0, "-"),
        (f"Warmup(epochs={trick.epochs:g}, start=0.1)", trick.epochs, 0.1, "--"),
        ("without", 0.0, 0.0, ":"),
    ]
    for label, length, start, style in lines:
        factors = [
            learning_rate_factor(
                float(e),
                schedule=CosineDecay(),
                warmup_epochs=length,
                warmup_start=start,
                epochs=EPOCHS,
            )
            for e in epochs
        ]
        axes.plot(epochs, factors, style, label=label)
    axes.set(xlabel="epoch", ylabel="learning rate / base rate", ylim=(-0.03, 1.05))
    axes.margins(x=0.01)
    axes.legend(loc="lower right")
    return figure


def cooldown(trick: Any) -> Figure:
    """A cosine decay to a tenth of the base rate over 120 epochs, and the cooldown after it."""
    from classification.tricks.cosine_decay import CosineDecay

    figure = _plot([(CosineDecay(final=0.1), "")], warmup=WARMUP, cooldown=trick.epochs)
    axes = figure.axes[0]
    axes.axvspan(EPOCHS, EPOCHS + trick.epochs, color="0.9", linewidth=0)
    axes.text(
        EPOCHS + trick.epochs / 2,
        0.5,
        "cooldown",
        rotation=90,
        ha="center",
        va="center",
        fontsize=8,
    )
    return figure
