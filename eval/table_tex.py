"""A table in TeX, for a paper: booktabs, and longtable where it is longer than a page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eval.text import in_one_line

_LONGEST_FLOAT = 40
_LIGATURE = re.compile("[-'](?=[-'])")  # two that TeX would draw as one
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "–": r"\textendash{}",
}


def to_tex(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    notes: Sequence[str] = (),
) -> str:
    """For `\\input`; the first column is text, the others are numbers. In ASCII.

    It needs booktabs alone, and longtable (of LaTeX's own tools) where it is longer than a page.
    caption: a sentence of plain text. notes: more of them, in small letters below the table.
    """
    head = " & ".join(map(escape_tex, header)) + r" \\"
    body = [" & ".join([_name(row[0]), *map(_number, row[1:])]) + r" \\" for row in rows]
    columns = "l" + "r" * (len(header) - 1)
    said = rf"\caption{{{escape_tex(caption)}}}"
    below = [
        rf"{{\footnotesize\raggedright {escape_tex(note)}\par}}" for note in notes if note.strip()
    ]
    if len(rows) > _LONGEST_FLOAT:
        top = [rf"\begin{{longtable}}{{{columns}}}", rf"{said} \\", r"\toprule", head, r"\midrule"]
        lines = [*top, r"\endfirsthead", r"\toprule", head, r"\midrule", r"\endhead"]
        lines += [*body, r"\bottomrule", r"\end{longtable}", *below]
    else:
        lines = [r"\begin{table}", r"\centering", said, rf"\begin{{tabular}}{{{columns}}}"]
        lines += [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
        lines += [r"\end{tabular}", r"\par\medskip", *below, r"\end{table}"]
    packages = "booktabs, longtable" if len(rows) > _LONGEST_FLOAT else "booktabs"
    return "\n".join([rf"% \usepackage{{{packages}}}", *lines]) + "\n"


def escape_tex(text: str) -> str:
    """In one line, shown as it is. What is not ASCII, and not in every font, is spelled out: é
    becomes [U+00E9]."""
    escaped = "".join(
        _SPECIAL.get(character)
        or (character if character.isascii() else f"[U+{ord(character):04X}]")
        for character in in_one_line(text)
    )
    return _LIGATURE.sub(r"\g<0>{}", escaped)


def _name(cell: str) -> str:
    """The line break before it would take a star or a bracket for its own."""
    return ("{}" if cell[:1] in ("*", "[") else "") + escape_tex(cell)


def _number(cell: str) -> str:
    """A sign is one of mathematics, not a hyphen."""
    if cell[:1] in "+-" and cell[1:2].isdigit():
        return f"${cell[0]}${escape_tex(cell[1:])}"
    return escape_tex(cell)
