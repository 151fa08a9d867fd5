"""Pieces of Markdown: tables, links to papers, and the anchors that GitHub gives to headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

GENERATED = (
    "<!-- Written by `python docs/build.py`; edit the code that it is written from. -->\n"
    "<!-- fmt: off -->"  # the code on the pages stands as it does in the files
)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a header that ends in `:` marks a column of numbers."""
    names = [name.removesuffix(":") for name in header]
    rules = ["---:" if name.endswith(":") else "---" for name in header]
    lines = [names, rules, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def link_papers(text: str) -> str:
    """`arXiv:1812.01187` becomes a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def escape(text: str) -> str:
    """Plain text, in which Markdown would take some characters for its own, outside of `code`."""
    parts = text.split("`")
    # _ opens no emphasis within a word, so that names stay readable in the source.
    outside = [re.sub(r"([*<]|(?<!\w)_|_(?!\w))", r"\\\1", part) for part in parts[::2]]
    pieces: list[str] = []
    for index, part in enumerate(outside):
        pieces.append(part)
        if 2 * index + 1 < len(parts):
            pieces.append(f"`{parts[2 * index + 1]}`")
    return "".join(pieces)


def anchor(heading: str) -> str:
    """The fragment under which GitHub finds a heading: `## One-cycle: up` is `#one-cycle-up`."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence, in one line."""
    line = " ".join(text.split("\n\n")[0].split())
    found = re.match(r"(.+?[.!?])(?= [A-Z`(]|$)", line)
    return found[1] if found else line
