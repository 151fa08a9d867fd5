"""The plot of a range test: the loss over the learning rate, and the rate that was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from backbones.atomic import write_bytes_atomic
from classification.learning_rate_range import PLOT_NAME, RangeTest, smoothed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64], float]
"""Name, "" where it has the colour of the one before; rates; losses; the rate that was found."""


def draw_ranges(figure: Figure, curves: Sequence[Curve]) -> None:
    """Fills an empty figure; loss as it is thin, smoothed thick, a circle at the found rate."""
    axes = figure.subplots()
    colour, highest, lowest = -1, [], []
    for name, rates, losses, found in curves:
        colour += bool(name) or colour < 0
        smooth = smoothed(losses, steps=len(losses))
        axes.plot(rates, losses, color=f"C{colour}", lw=0.8, alpha=0.35)
        axes.plot(rates, smooth, color=f"C{colour}", label=name or None)
        height = float(np.interp(np.log(found), np.log(rates), smooth))
        axes.plot([found], [height], "o", ms=8, mew=1.8, mfc="none", color=f"C{colour}")
        highest.append(smooth.max())
        lowest.append(min(0.95 * smooth.min(), losses.min()))
    axes.set_xscale("log")
    # How far it diverges would press the rest flat.
    margin = 0.15 * (max(highest) - min(lowest))
    axes.set_ylim(min(lowest) - margin / 3, max(highest) + margin)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(loc="lower left")


def write_plot(test: RangeTest, folder: Path, title: str) -> Path:
    """A PNG file in the folder."""
    import io

    from matplotlib.figure import Figure

    rates, losses = np.array(test.rates), np.array(test.losses)
    kept = np.isfinite(losses)
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    draw_ranges(figure, [(f"{test.rule}: {test.rate:g}", rates[kept], losses[kept], test.rate)])
    figure.axes[0].set_title(title, fontsize=9, parse_math=False)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=120)
    path = folder / PLOT_NAME
    write_bytes_atomic(path, written.getvalue())
    return path
