"""What `trickle doctor` found: facts to read, and what is wrong with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Fact = str | int | float | bool | None
Facts = Mapping[str, "Fact | list[str]"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """what: one sentence that names the place. fix: what to do about it.

    level: "wrong" stops a run or loses its results; "note" is only worth knowing.
    """

    what: str
    fix: str
    level: Literal["wrong", "note"] = "wrong"


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the machine: its facts by name; names that end in `_bytes` are amounts."""

    title: str
    facts: Facts
    findings: tuple[Finding, ...] = field(default=())


def amount(count: int) -> str:
    """1536 -> `1.5 KiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
