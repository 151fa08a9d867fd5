"""How large the values in untrained networks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def residual_growth(trick: Any) -> Figure:
    """Standard deviation of what each block of an untrained resnet50d gives (a quarter of the
    width, a batch of 20 images of the mini world). With gamma 1 the residual branches add up
    within each stage; with gamma 0 a block is its shortcut. Grey lines: a stage's first block.
    """
    import torch
    from matplotlib.figure import Figure
    from torch import nn

    from backbones.create import create_backbone
    from backbones.initialization import initialize, zero_gamma
    from benchmarks.mini_world.kinds import CLASSES
    from docs.figures.samples import batch

    images, _ = batch(list(CLASSES) * 2)
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    for zero, label, style in ((False, "gamma 1", "o-"), (True, "zero gamma", "s--")):
        backbone = create_backbone("resnet50d", width=0.25)
        initialize(backbone, seed=0)
        if zero:
            zero_gamma(backbone)
        sizes: list[float] = []

        def keep(
            module: nn.Module, inputs: Any, output: torch.Tensor, sizes: list[float] = sizes
        ) -> None:
            sizes.append(float(output.std()))

        for module in backbone.modules():
            if hasattr(module, "zero_init_last"):
                module.register_forward_hook(keep)
        with torch.no_grad():
            backbone.train()(images)
        axes.plot(range(1, len(sizes) + 1), sizes, style, markersize=3.5, label=label)
    for first in (1, 4, 8, 14):
        axes.axvline(first, color="0.5", linewidth=0.8, zorder=0)
    axes.set(xlabel="residual block", ylabel="standard deviation", ylim=(0, None))
    axes.set_xticks(range(1, 17))
    axes.legend()
    return figure


def signal(trick: Any) -> Figure:
    """Root mean square of the values after each of 30 layers with ReLU, 512 wide, before training.
    Xavier's law leaves out that a ReLU takes half of the square away; Kaiming's does not.
    """
    import torch
    from matplotlib.figure import Figure
    from torch import nn

    from backbones.initialization import initialize
    from classification.tricks.kaiming_initialization import kaiming_normal

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    layers = nn.Sequential(*(nn.Linear(512, 512) for _ in range(30)))
    inputs = torch.randn(256, 512, generator=torch.Generator().manual_seed(0))
    for label, style in (("Kaiming", "o-"), ("Xavier", "s--")):
        if label == "Kaiming":
            kaiming_normal(layers, seed=0)
        else:
            initialize(layers, seed=0)
        values, sizes = inputs, []
        with torch.no_grad():
            for layer in layers:
                values = layer(values).relu()
                sizes.append(float(values.square().mean().sqrt()))
        axes.semilogy(np.arange(1, 31), sizes, style, markersize=3, label=label)
    axes.set(xlabel="layer", ylabel="root mean square")
    axes.legend()
    return figure
