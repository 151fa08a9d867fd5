"""docs/performance/growth.png: how cost grows, drawn from what bench/growth.py measured."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE = Path("docs/performance/growth.png")
STYLE = Path(__file__).with_name("trickle.mplstyle")
PANELS = {
    "images": ("images",),
    "classes": ("classes",),
    "pixels of a view": ("pixels",),
    "rows, and seeds, of a table": ("rows", "seeds"),
}
"""What a panel shows: the drivers of its curves."""


def growth_figure(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Cost against size on logarithmic axes, both as multiples of the smallest; a panel each."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    for axes, (title, drivers) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        shown = [curve for curve in curves if curve["driver"] in drivers]
        widest = max((curve["sizes"][-1] / curve["sizes"][0] for curve in shown), default=10)
        axes.plot([1, widest], [1, widest], color="#999999", linewidth=0.8, linestyle="--")
        for curve in shown:
            sizes, values = curve["sizes"], curve["values"]
            axes.plot(
                [size / sizes[0] for size in sizes],
                [value / values[0] for value in values],
                marker="o",
                markersize=3,
                label=f"{curve['name']} ({curve['exponent']:.2f})",
            )
        axes.set(title=title, xscale="log", yscale="log")
        axes.set(xlabel="size / smallest", ylabel="cost / smallest")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        if shown:
            axes.legend(loc="upper left", fontsize=6.5)
            axes.set_ylim(0.5, widest * 300)
    return figure


def figure_digest(data: Mapping[str, Any]) -> str:
    """sha256 over what the figure follows from: the curves, this file and the style."""
    parts = [json.dumps(data["raw"]["curves"], sort_keys=True)]
    parts += [file.read_text(encoding="utf-8") for file in (Path(__file__), STYLE)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def draw_growth(data: Mapping[str, Any], file: Path) -> None:
    """Draws the PNG, of few colours, which says what it follows from."""
    from matplotlib import style
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    with style.context(str(STYLE)):
        growth_figure(data["raw"]["curves"]).savefig(drawn, format="png")
    source = PngInfo()
    source.add_text("Source", figure_digest(data))
    image = Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
    image.save(file, pnginfo=source, optimize=True)


def is_drawn(data: Mapping[str, Any], file: Path) -> bool:
    """Whether `file` is the figure of these data."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.info.get("Source") == figure_digest(data)
    except OSError:
        return False
