"""What a section of the report is made of, apart from how a page shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain text; whatever is in it is escaped."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """text: as shown. sort: what a column of numbers is sorted by; None sorts last.

    detail: shown on demand, as the protocol behind a number.
    """

    text: str
    sort: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table. Its first column names the rows; header: one text for each column."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """draw: fills an empty matplotlib figure of that size in inches, colors by the style's cycle.

    alt: what it shows, in words, for those who do not see it. narrow: the size for a telephone,
    where it is drawn once more; None where it may be scaled down.
    """

    caption: str
    alt: str
    draw: Callable[[Drawing], Any]
    size: tuple[float, float] = (6.4, 4.0)
    narrow: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """data: a JPEG or PNG file; alt: what it shows, in words."""

    data: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures in rows of `columns`."""

    caption: str
    pictures: tuple[Picture, ...]
    columns: int = 4


Block = Paragraph | Grid | Plot | Gallery


@dataclass(frozen=True, kw_only=True)
class Section:
    """key: letters and dashes, its address on the page. lead: the answer, in one or two
    sentences, or in a few lines.

    left_out: what could not be said, and why. answer: what the top of the page shows of it.
    """

    key: str
    title: str
    lead: str
    blocks: tuple[Block, ...] = ()
    left_out: tuple[str, ...] = field(default=())
    answer: tuple[Paragraph | Grid, ...] = ()


def number(value: float | None, digits: int = 1, *, signed: bool = False) -> Cell:
    """A cell of a number; a dash where there is none."""
    if value is None:
        return Cell(text="–")
    rounded = round(value, digits) + 0.0  # no "-0.0"
    return Cell(text=f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}", sort=value)


def texts(values: Sequence[str]) -> tuple[Cell, ...]:
    """Cells of plain text."""
    return tuple(Cell(text=value) for value in values)
