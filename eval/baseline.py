"""Which row of a table the user means by --baseline."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.catalog import UnknownNameError
from eval.specs import parse_spec

_MOST_NAMES = 20


def find_baseline(text: str, rows: Sequence[str]) -> str:
    """The name among `rows` that `text` bears, or is another way to write.

    Raises UnknownNameError where it is none or several of them, with the rows there are.
    """
    if text in rows:
        return text
    try:
        found = [spec.name for spec in parse_spec(text) if spec.name in rows]
    except ValueError:
        found = []
    if len(found) == 1:
        return found[0]
    more = f" and {len(rows) - _MOST_NAMES} more" if len(rows) > _MOST_NAMES else ""
    raise UnknownNameError(
        f"--baseline {text}: {'several rows' if found else 'no row'} of the table; there are "
        f"{', '.join(rows[:_MOST_NAMES])}{more}"
    )
