"""The one switch for everything that is done a faster way than the plain one.

TRICKLE_REFERENCE=all            the plain way everywhere
TRICKLE_REFERENCE=NAME[,NAME]    the plain way for these; the names are the keys of FAST_PATHS

Both ways agree within the tolerance that is written beside the name; docs/performance.md says what
each gains. The variable reaches the processes of all jobs, and a record's protocol names what was
switched off. No torch is imported here.
"""

from __future__ import annotations

import os

VARIABLE = "TRICKLE_REFERENCE"

FAST_PATHS: dict[str, str] = {}
"""What each does and how far its results may lie from the plain way's."""


def is_fast(name: str) -> bool:
    """Whether the faster way is to be taken; ValueError for a name nobody knows in the variable."""
    assert name in FAST_PATHS, name
    return name not in switched_off()


def switched_off() -> tuple[str, ...]:
    """The names whose plain way was asked for, sorted."""
    asked = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    if asked == {"all"}:
        return tuple(sorted(FAST_PATHS))
    if unknown := sorted(asked - set(FAST_PATHS)):
        raise ValueError(
            f"{VARIABLE} names {', '.join(unknown)}; known are all, {', '.join(sorted(FAST_PATHS))}"
        )
    return tuple(sorted(asked))
