"""One HTML file that opens from a disk: nothing in it is fetched, and nothing of it is obeyed."""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from eval.page.answer import make_answer, question_of
from eval.page.numbers import Numbers, make_numbers
from eval.page.plots import plot_svg
from eval.page.prose import breakable, from_markdown, prose
from eval.sections.material import Material
from eval.sections.section import Block, Gallery, Grid, Paragraph, Picture, Plot, Section
from eval.tables import title_of
from eval.text import visible

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_SEVERAL = 12
"""Rows from which on a filter helps and a heading has to stay in sight."""
_MOST_PRINTED = 12
"""Protocols that are printed in full; of more, those that the reader opened."""
_PORTRAIT = 125
"""Characters that a printed line of a table has room for on an upright page."""
_GAP = 2
_ARROWS = {"↑ ": "raised by", "↓ ": "lowered by"}
"""How a cell may begin, and the words for those who hear it."""
_WORDY = 40
"""Characters from which on a cell is prose, which is broken into lines."""
_BROKEN = 16
"""Characters from which on a cell is broken into lines."""


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A block ready for the template. kind: which of its macros shows it."""

    kind: str
    block: Block
    markup: Markup | None = None
    pictures: tuple[tuple[str, Picture], ...] = ()
    narrow: Markup | None = None


def render_page(material: Material, notes: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole file. notes: lines of markdown as they stand below the written table.

    The same material gives the same text. A plot that cannot be drawn is named in its place.
    """
    from markupsafe import Markup

    folder = files("eval.page")
    script = (folder / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        title=f"{question_of(material.table)} ({material.table.benchmark})",
        question=question_of(material.table),
        table_title=title_of(material.table),
        benchmark=material.table.benchmark,
        seeds=material.table.seeds,
        answer=make_answer(material),
        numbers=make_numbers(material),
        notes=[from_markdown(note) for note in notes],
        sections=[(section, _shown(section)) for section in sections],
        several=_SEVERAL,
        most_printed=_MOST_PRINTED,
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The one script is let run by its digest; no other is, whoever wrote it into a name.
        policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def seen(value: Any) -> Any:
        if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
            return value
        return visible(value)

    environment = Environment(
        loader=PackageLoader("eval.page", "."),
        autoescape=True,
        finalize=seen,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"breakable": breakable, "prose": prose}
    environment.filters |= {"wordy": _wordy_columns}
    environment.tests |= {"wide": _is_wide, "opening": _is_opening}
    environment.globals["arrows"] = _ARROWS
    return environment.get_template("template.html")


def _is_opening(grid: Grid) -> bool:
    return any(cell.detail for row in grid.rows for cell in row)


def _wordy_columns(grid: Grid) -> set[int]:
    return {
        place
        for row in grid.rows
        for place, cell in enumerate(row)
        if place and len(cell.text) > _WORDY
    }


def _is_wide(table: Grid | Numbers | Sequence[_Shown]) -> bool:
    """Whether it, or one of the tables in it, is printed better on a page that lies on its side."""
    if not isinstance(table, Grid | Numbers):
        return any(_is_wide(shown.block) for shown in table if isinstance(shown.block, Grid))
    if isinstance(table, Grid):
        lines = [[cell.text for cell in row] for row in table.rows]
    else:
        lines = [[row.name, *(number.text for number in row.numbers)] for row in table.rows]
    columns = zip_longest(table.header, *lines, fillvalue="")
    widths = [
        max([*map(len, header.split()), *(min(len(cell), _BROKEN) for cell in column)], default=0)
        for header, *column in columns
    ]
    return sum(widths) + _GAP * len(widths) > _PORTRAIT


def _shown(section: Section) -> list[_Shown]:
    return [_show(block, f"{section.key}-{place}") for place, block in enumerate(section.blocks, 1)]


def _show(block: Block, key: str) -> _Shown:
    if isinstance(block, Plot):
        return _show_plot(block, key)
    if isinstance(block, Gallery):
        found = [(_data_address(picture.data), picture) for picture in block.pictures]
        pictures = tuple((address, picture) for address, picture in found if address)
        return _Shown(kind="gallery", block=block, pictures=pictures)
    return _Shown(kind="grid" if isinstance(block, Grid) else "paragraph", block=block)


def _show_plot(plot: Plot, key: str) -> _Shown:
    from markupsafe import Markup

    try:
        wide = Markup(plot_svg(plot, prefix=key))
        if plot.narrow is None:
            return _Shown(kind="plot", block=plot, markup=wide)
        small = replace(plot, size=plot.narrow)
        narrow = Markup(plot_svg(small, prefix=f"{key}-narrow"))
        return _Shown(kind="plot", block=plot, markup=wide, narrow=narrow)
    except Exception as error:  # a defect of ours, which must not cost the user the page
        warnings.warn(f"plot {key} could not be made: {error!r}", RuntimeWarning, 2)
        said = f"The plot “{plot.caption}” could not be made: {type(error).__name__}: {error}"
        return _Shown(kind="paragraph", block=Paragraph(text=said))


def _data_address(data: bytes) -> str:
    """Empty for what is neither a JPEG nor a PNG file."""
    for start, kind in _KINDS.items():
        if data.startswith(start):
            return f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return ""
