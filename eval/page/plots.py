"""A plot as an SVG that lives inside a page: in the page's colors, without anything of its own."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any
from xml.etree import ElementTree

from eval.sections.section import Plot
from eval.text import visible

# Each at least 3:1 against a white and a nearly black ground (WCAG 2.2, 1.4.11), and told apart by
# those who see red and green alike: Okabe and Ito's, with their light blue and yellow darkened.
COLORS = (
    "#1b7fc4",
    "#d55e00",
    "#00936b",
    "#c2689a",
    "#9a7b00",
    "#8a63d2",
    "#7f7f7f",
    "#b5521b",
)
_INK, _GROUND = "#010203", "#fdfcfb"  # no plot's own; the page's colors stand in their places
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.size": 11,
    "grid.alpha": 0.2,
    "grid.color": _INK,
    "grid.linewidth": 0.8,
    "legend.edgecolor": _INK,
    "legend.facecolor": _GROUND,
    "legend.framealpha": 0.85,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.8,
    "patch.edgecolor": _INK,
    "savefig.facecolor": "none",
    # The browser's own letters: text that can be found and read, whatever fonts there are.
    "svg.fonttype": "none",
    "svg.hashsalt": "trickle",
    "text.color": _INK,
    "text.parse_math": False,  # "$" in a name is a dollar
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_FAMILY = re.compile(r"font-family: [^;]*;? ?")
_SHORT_FONT = re.compile(r"(font: [^;']*)'[^;]*")
_DROPPED = {"metadata", "style", "title", "desc", "script"}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def plot_svg(plot: Plot, *, prefix: str) -> str:
    """An `<svg>` element for an HTML page. prefix: begins its ids, so that no two plots share one.

    The same plot gives the same text. It has no colors but the plot's: ink and ground are the
    page's. Whatever `plot.draw` raises is raised.
    """
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the page is the same whatever a matplotlibrc says
        matplotlib.rcParams.update({**_STYLE, "axes.prop_cycle": cycler(color=COLORS)})
        # Of letters that matplotlib's font lacks: the browser's has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # Of a plot that lays itself out.
        warnings.filterwarnings("ignore", message="The figure layout has changed")
        figure = Figure(figsize=plot.size)
        plot.draw(figure)
        for axes in figure.axes:
            _plain_powers(axes)
            if axes.images:  # lines across a heat map are no help
                axes.grid(visible=False)
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    return _fit_for_a_page(written.getvalue(), prefix, plot)


def _plain_powers(axes: Any) -> None:
    """Of axes in powers, whose labels would be mathematical text, which is off."""
    from matplotlib.ticker import LogFormatter

    class PlainPowers(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_formatter(), LogFormatter):
            axis.set_major_formatter(PlainPowers())
        if isinstance(minor := axis.get_minor_formatter(), LogFormatter):
            axis.set_minor_formatter(PlainPowers(labelOnlyBase=minor.labelOnlyBase))


def _fit_for_a_page(svg: str, prefix: str, plot: Plot) -> str:
    root = ElementTree.fromstring(_NO_XML.sub("\ufffd", svg))
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in _DROPPED]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        for text in ("text", "tail"):
            if found := getattr(element, text):
                setattr(element, text, visible(found) if found.strip() else None)
        element.attrib = {
            _local(name): _attribute(_local(name), value, prefix)
            for name, value in element.attrib.items()
        }
    width, height = (round(96 * inches) for inches in plot.size)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": str(width),
        "height": str(height),
        "style": f"--width: {width}px",
        "role": "img",
        "aria-label": visible(plot.alt),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
    if name == "style":
        value = _SHORT_FONT.sub(r"\1var(--font)", _FAMILY.sub("", value))
        value = value.replace(_INK, "currentColor").replace(_GROUND, "var(--ground)")
    return value


def _local(name: str) -> str:
    return name.rpartition("}")[2]
