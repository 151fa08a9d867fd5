"""Text of others (names, messages, notes) made fit to be shown: seen, not obeyed."""

from __future__ import annotations

import re
import unicodedata

# Control characters (terminal escapes begin with one), format characters (which turn the direction
# of writing, or take no room), halves of characters, and separators that are no line's end.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_FORMULA = re.compile(r"(^|[;,|]\s*)(?=[=+\-@＝＋－＠])")
# "_" within a word is no emphasis, and names are full of them.
_IN_LINE = re.compile(r"[\\`*<\[\]|~&$#]|(?<![^\W_])_|_(?![^\W_])")
_AT_START = re.compile(r"^[-+=>]|^\d+(?=[.)])")


def visible(text: str) -> str:
    """Unseen characters as `\\x1b` or `\\u202e`; lines stay lines."""
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in _UNSEEN
        else character.encode("unicode_escape").decode()
        for character in text
    )


def in_one_line(text: str) -> str:
    """The same in one line, without white space that is none to the eye."""
    return visible(" ".join(text.split()))


def no_formula(text: str) -> str:
    """In one line, and nothing in it that a spreadsheet would compute: an apostrophe stands before
    what would begin a formula, in a cell of its own also where `;` or `|` separates cells."""
    return _FORMULA.sub(r"\1'", in_one_line(text))


def escape_markdown(text: str) -> str:
    """In one line, shown as it is: no new column, link, emphasis, heading, list, entity or HTML."""
    return _AT_START.sub(_escaped, escape_cell(text))


def escape_cell(text: str) -> str:
    """The same for a cell of a table, where no line begins: `33.3` and `+1.4` stay as they are."""
    return _IN_LINE.sub(_escaped, in_one_line(text))


def _escaped(found: re.Match[str]) -> str:
    special = found.group()
    return f"{special}\\" if special.isdigit() else f"\\{special}"
