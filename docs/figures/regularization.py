"""Figures of the tricks that hold a training back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def survival(trick: Any) -> Figure:
    """Probability that the residual branch of each of resnet50d's 16 blocks is there in a training
    step."""
    from matplotlib.figure import Figure

    from classification.tricks.drop_path import drop_path_rates

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    for rate, style in ((0.05, "o-"), (trick.rate, "s--"), (0.5, "^:")):
        kept = [1 - share for share in drop_path_rates(rate, 16)]
        axes.plot(range(1, 17), kept, style, markersize=4, label=f"rate {rate:g}")
    axes.set(xlabel="residual block", ylabel="survival probability", ylim=(0, 1.05))
    axes.set_xticks(range(1, 17))
    axes.legend()
    return figure


def clipped_norm(trick: Any) -> Figure:
    """Norm of all gradients together before and after clipping: torch's clip_grad_norm_ on 50
    random gradients of growing size."""
    import torch
    from matplotlib.figure import Figure

    sizes = np.linspace(0.02, 3.5, 50)
    before, after = [], []
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        weight = torch.nn.Parameter(torch.zeros(1000))
        gradient = torch.randn(1000, generator=generator)
        weight.grad = gradient * float(size) / gradient.norm()
        before.append(float(weight.grad.norm()))
        torch.nn.utils.clip_grad_norm_([weight], trick.max_norm)
        after.append(float(weight.grad.norm()))
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.plot(before, before, ":", color="0.6", label="without")
    axes.plot(before, after, "o-", markersize=3, label=f"max_norm {trick.max_norm:g}")
    axes.set(xlabel="norm before", ylabel="norm after", ylim=(0, None))
    axes.legend()
    return figure
