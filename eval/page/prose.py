"""Text as it stands on the page: escaped, code in its own letters, long names with places to break.

What is returned is safe in HTML, whatever is given.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eval.text import visible

if TYPE_CHECKING:
    from markupsafe import Markup

_BACKTICKS = re.compile("`+")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
# Browsers break a line behind "-" and spaces, not behind these, which names are full of.
_JOINT = re.compile(r"(?<=\w)([_+/:])(?=\w)")


def breakable(text: str) -> Markup:
    """A name: shown as it is, and broken behind `_` and the like where it is too long."""
    from markupsafe import Markup, escape

    text = text if text.isprintable() else visible(text)
    if _JOINT.search(text) is None:  # as nearly every cell
        return escape(text)
    parts = _JOINT.sub("\\1\0", text).split("\0")  # none is left in a visible text
    return Markup("<wbr>").join(map(escape, parts))


def prose(text: str) -> Markup:
    """A sentence: what stands between backticks is code, all else as in `breakable`."""
    return _marked(text, breakable, escapes=False)


def from_markdown(note: str) -> Markup:
    """A line of our notes, which hold no other markdown than escapes and code."""
    return _marked(note, lambda text: breakable(_ESCAPED.sub(r"\1", text)), escapes=True)


def _marked(text: str, other: Callable[[str], Markup], *, escapes: bool) -> Markup:
    """other: of what is no code. escapes: whether a backslash before a backtick takes its sense."""
    from markupsafe import Markup

    parts, at = [], 0
    for start, end, code in _codes(text, escapes=escapes):
        parts += [other(text[at:start]), _in_code(code)]
        at = end
    return Markup("").join([*parts, other(text[at:])])


def _in_code(text: str) -> Markup:
    """Without places to break: a command is copied, and breaks anywhere if it must."""
    from markupsafe import Markup

    return Markup("<code>{}</code>").format(visible(text))


def _codes(text: str, *, escapes: bool) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of each inline code: from a run of backticks to the next one as long
    (CommonMark 0.31, 6.1). Each run is looked at twice, however many there are."""
    runs = [found.span() for found in _BACKTICKS.finditer(text)]
    ends: dict[int, deque[int]] = {}
    for start, end in runs:
        ends.setdefault(end - start, deque()).append(start)
    at = 0
    for start, end in runs:
        if start < at:
            continue
        slashes = start
        while escapes and slashes > at and text[slashes - 1] == "\\":
            slashes -= 1
        start += (start - slashes) % 2  # an escaped backtick begins no code
        closing = ends.get(end - start, deque())
        while closing and closing[0] < end:
            closing.popleft()
        if closing:
            code, at = text[end : closing[0]], closing[0] + end - start
            padded = code[:1] == code[-1:] == " " and code.strip(" ")
            yield start, at, code[1:-1] if padded else code
