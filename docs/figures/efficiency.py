"""Figures of the tricks that make training cheaper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def linear_scaling_line(trick: Any) -> Figure:
    """The learning rate that belongs to a batch size, from 0.1 at 256."""
    from matplotlib.figure import Figure

    from classification.tricks.large_batch import linear_scaling

    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    sizes = np.linspace(0, 4096, 65)
    rates = [linear_scaling(0.1, batch_size=int(s), reference_batch_size=256) for s in sizes]
    axes.plot(sizes, rates)
    for size in (256, trick.batch_size):
        rate = linear_scaling(0.1, batch_size=size, reference_batch_size=256)
        axes.plot(size, rate, "o", color="black", markersize=4)
        axes.annotate(
            f"{rate:g} at {size}",
            (size, rate),
            textcoords="offset points",
            xytext=(-4, 8),
            ha="center",
        )
    axes.set(xlabel="images per step", ylabel="learning rate", ylim=(0, None))
    axes.set_xticks(range(0, 4097, 512))
    axes.margins(x=0.01)
    return figure


def averaged_walk(trick: Any) -> Figure:
    """One weight that settles under the noise of 30,000 steps, and its moving averages: a large
    decay takes away more noise and follows later."""
    from matplotlib.figure import Figure

    steps = 30_000
    rng = np.random.default_rng(0)
    weight = np.exp(-np.arange(steps) / 3000) + rng.normal(0, 0.15, steps)
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    shown = np.arange(0, steps, 60)
    axes.plot(shown, weight[shown], color="0.8", linewidth=0.7, label="the weight")
    for decay, style in ((0.99, ":"), (0.999, "--"), (trick.decay, "-")):
        average = np.empty(steps)
        value = weight[0]
        for step in range(steps):
            value = decay * value + (1 - decay) * weight[step]
            average[step] = value
        axes.plot(shown, average[shown], style, label=f"decay {decay:g}")
    axes.set(xlabel="step", ylabel="value")
    axes.margins(x=0.01)
    axes.legend()
    return figure


def gradient_underflow(trick: Any) -> Figure:
    """The gradients of all convolutions' outputs in an untrained resnet18d of a quarter of the
    width, for the mean loss of 64 images of the mini world. What is below half of 2⁻²⁴ becomes 0
    in float16; with the loss times 65,536 = 2¹⁶, GradScaler's first scale, nothing does.
    """
    from matplotlib.figure import Figure

    magnitudes = _output_gradients()
    exponents = np.log2(magnitudes)
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    bins = np.arange(-46, 17, 1.0)
    smallest, largest = -24, 16
    for shift, label, style in ((0, "as they are", "-"), (16, "loss times 2¹⁶", "--")):
        share, edges = np.histogram(exponents + shift, bins=bins)
        # Half of the smallest number already rounds to it, and not to 0.
        lost = 100 * np.mean(exponents + shift < smallest - 1)
        text = f"{label}: {lost:.1f}% become 0"
        axes.stairs(100 * share / len(exponents), edges, label=text, linestyle=style, linewidth=1.6)
    axes.axvspan(smallest, largest, color="0.94", linewidth=0, zorder=0)
    axes.text(largest - 0.5, 13, "float16's range", fontsize=8, color="0.35", ha="right")
    axes.set(xlabel="log₂ |gradient|", ylabel="% of the values that are not 0", xlim=(-46, 16))
    axes.set_ylim(0, None)
    axes.legend(loc="upper left")
    return figure


def _output_gradients() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Magnitudes of the gradients that are not 0."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from backbones.create import create_backbone
    from backbones.initialization import initialize
    from benchmarks.mini_world.kinds import CLASSES
    from classification.model import Classifier
    from docs.figures.samples import batch

    images, targets = batch([name for name in CLASSES for _ in range(7)][:64])
    backbone = create_backbone("resnet18d", width=0.25)
    initialize(backbone, seed=0)
    torch.manual_seed(0)
    classifier = Classifier(backbone, len(CLASSES)).train()
    gradients: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        output.register_hook(lambda gradient: gradients.append(gradient.flatten()))

    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(keep)
    cross_entropy(classifier(images), targets).backward()
    values = torch.cat(gradients).abs().double()
    return values[values > 0].numpy()
