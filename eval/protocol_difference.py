"""What differs between two protocols, as `budget.image_size: 96x96 -> 128x128`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from classification.identity import digest_of
from eval.text import in_one_line

_LONGEST_VALUE = 48
_ABSENT = "none"
_MISSING = object()


def protocol_digest(task: str, protocol: Mapping[str, Any]) -> str:
    """16 hexadecimal digits, the same for the same protocol of a task."""
    return digest_of({"task": task, "protocol": protocol})


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, ...]:
    """One text for each value that differs, by the path of its key; empty where nothing does."""
    first, second = flat(theirs), flat(ours)
    found = []
    for path in sorted({*first, *second}):
        before, after = first.get(path, _MISSING), second.get(path, _MISSING)
        if _kind(before) != _kind(after) or before != after:
            texts = (value_text(before), value_text(after))
            if texts[0] == texts[1]:
                texts = (_exact_text(before), _exact_text(after))
            found.append(f"{in_one_line(path)}: {' -> '.join(texts)}")
    return tuple(found)


def in_short(texts: tuple[str, ...], most: int) -> str:
    """The first ones, and how many more there are."""
    more = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {more} more" if more > 0 else "")


def flat(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """{"budget": {"batch_size": 4}} -> {"budget.batch_size": 4}; lists stay whole."""
    values: dict[str, Any] = {}
    for key, value in protocol.items():
        if isinstance(value, Mapping) and value:
            values |= {f"{key}.{inner}": item for inner, item in flat(value).items()}
        else:
            values[str(key)] = value
    return values


def value_text(value: Any) -> str:
    """A value as a person reads it: sizes as 96x96, a checksum by its first digits."""
    if value is _MISSING or value is None:
        return _ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        numbers = value and all(isinstance(item, int | float) for item in value)
        text = ("x" if numbers else ", ").join(map(str, value))
    else:
        text = str(value)
        if len(text) == 64 and set(text) <= set("0123456789abcdef"):
            text = text[:12]
    text = in_one_line(text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} …"


def _exact_text(value: Any) -> str:
    """Of a value that reads like another one: what is null is there, and long ones are whole."""
    return "not recorded" if value is _MISSING else in_one_line(json.dumps(value, sort_keys=True))


def _kind(value: Any) -> type:
    """True is not 1; 1 is 1.0, as in JSON."""
    return float if type(value) is int else type(value)
