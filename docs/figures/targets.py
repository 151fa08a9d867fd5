"""Figures of the tricks on targets and losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def logit_gap(trick: Any) -> Figure:
    """How far the optimal logit of the class lies above the others': log((K - 1)(1 - ε) / ε), with
    K classes (He et al. 2019, Figure 4). Without smoothing, at ε = 0, it is infinite; where all
    classes are as probable, it is 0.
    """
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    for classes, style in ((1000, "-"), (100, "--"), (10, ":")):
        epsilon = np.linspace(1e-4, 1 - 1 / classes, 2000)
        gap = np.log((classes - 1) * (1 - epsilon) / epsilon)
        (line,) = axes.plot(epsilon, gap, style, label=f"K = {classes}")
        here = np.log((classes - 1) * (1 - trick.epsilon) / trick.epsilon)
        axes.plot(trick.epsilon, here, "o", color=line.get_color(), markersize=4)
        axes.annotate(
            f"{here:.2f}",
            (trick.epsilon, here),
            textcoords="offset points",
            xytext=(6, 3),
            fontsize=8,
        )
    axes.axvline(trick.epsilon, color="0.6", linewidth=0.8, zorder=0)
    axes.set(xlabel="ε", ylabel="optimal gap of logits", xlim=(0, 1), ylim=(0, 16))
    axes.legend()
    return figure


def softened(trick: Any) -> Figure:
    """What a teacher with the logits 8, 5, 3, 1 and -2 says at three temperatures T: the larger T,
    the more it says of the classes beside the first.
    """
    from matplotlib.figure import Figure

    logits = np.array([8.0, 5.0, 3.0, 1.0, -2.0])
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    temperatures = (1.0, 4.0, trick.temperature)
    for number, temperature in enumerate(temperatures):
        share = np.exp(logits / temperature)
        share /= share.sum()
        x = np.arange(len(logits)) + (number - 1) * 0.27
        bars = axes.bar(x, share, width=0.25, label=f"T = {temperature:g}")
        axes.bar_label(bars, [f"{p:.2f}" for p in share], fontsize=7, padding=1)
    axes.set_xticks(range(len(logits)), [f"logit {z:g}" for z in logits])
    axes.set(ylabel="softmax(logits / T)", ylim=(0, 1.08))
    axes.grid(axis="x", visible=False)
    axes.legend()
    return figure


def binary_losses(trick: Any) -> Figure:
    """The loss of one class over its logit z. A target that mixing has made 0.3 asks for
    z = log(0.3 / 0.7) and no further; above the threshold it counts as 1.
    """
    import torch
    from matplotlib.figure import Figure

    from classification.tricks.binary_cross_entropy import binary_cross_entropy

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    logits = torch.linspace(-6, 6, 241)
    lines: list[tuple[float, float | None, str, str]] = [
        (1.0, None, "target 1", "-"),
        (0.3, None, "target 0.3, kept", "--"),
        (0.3, 0.2, "target 0.3, threshold 0.2", ":"),
        (0.0, None, "target 0", "-."),
    ]
    for target, threshold, label, style in lines:
        losses = [
            float(binary_cross_entropy(z.view(1, 1), torch.tensor([[target]]), threshold))
            for z in logits
        ]
        width = 3.5 if threshold else 1.6  # it lies on the line of target 1
        axes.plot(logits, losses, style, label=label, linewidth=width)
    best = float(np.log(0.3 / 0.7))
    height = float(np.log1p(np.exp(best)) - 0.3 * best)
    axes.plot(best, height, "o", color="black", markersize=4)
    axes.set(xlabel="logit z of the class", ylabel="loss", ylim=(0, 6.2))
    axes.legend(loc="upper center")
    return figure
