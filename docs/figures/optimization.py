"""What optimizers do to a noisy quadratic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def slow_and_fast(trick: Any) -> Figure:
    """The noisy quadratic model of the paper's section 3: mean loss of 2,000 runs on (x² + y²) / 2
    under SGD (rate 0.3) with gradients of noise 1. The fast weights fall and rise with the cycles;
    the slow ones, which are drawn back, end with less of the noise.
    """
    import torch
    from matplotlib.figure import Figure
    from timm.optim import Lookahead

    def losses(steps: int, lookahead: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
        places = torch.nn.Parameter(torch.full((2000, 2), 3.0))
        optimizer: Any = torch.optim.SGD([places], lr=0.3)
        if lookahead:
            optimizer = Lookahead(optimizer, alpha=trick.alpha, k=trick.k)
        generator = torch.Generator().manual_seed(0)
        values = []
        for _ in range(steps + 1):
            values.append(float(0.5 * places.detach().square().sum(dim=1).mean()))
            places.grad = places.detach() + torch.randn(2000, 2, generator=generator)
            optimizer.step()
        return np.array(values)

    steps = 8 * trick.k
    alone, under = losses(steps, False), losses(steps, True)
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.semilogy(alone, "--", color="#D55E00", label="SGD alone")
    axes.semilogy(under, color="#56B4E9", label="under Lookahead")
    # timm's slow weights begin as the fast ones after k steps.
    slow = np.arange(trick.k, steps + 1, trick.k)
    axes.semilogy(slow, under[slow], "o", color="#0072B2", markersize=4, label="its slow weights")
    axes.set(xlabel="step", ylabel="mean loss")
    axes.set_xticks(range(0, steps + 1, trick.k))
    axes.margins(x=0.01)
    axes.legend()
    return figure
