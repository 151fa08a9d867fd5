"""The user's cache: where the rendered world lies, and what is known about data already checked."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from backbones.atomic import write_json_atomic

CACHE_VARIABLE = "TRICKLE_CACHE"


def cache_folder() -> Path:
    """The folder that TRICKLE_CACHE names, or the system's place for a user's caches."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("trickle")


def read_cached(kind: str, key: str) -> dict[str, Any] | None:
    """What `write_cached` kept, or None; a file that is not as it was written counts as none."""
    try:
        found = json.loads(_entry(kind, key).read_text(encoding="utf-8"))
        value: dict[str, Any] = found["value"]
        return value if found["sha256"] == _checksum(value) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_cached(kind: str, key: str, value: dict[str, Any]) -> None:
    """Keep `value` for the next start. A cache that cannot be written costs only time."""
    entry = _entry(kind, key)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(entry, {"sha256": _checksum(value), "value": value})
    except OSError:
        return


def _checksum(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(kind: str, key: str) -> Path:
    return cache_folder() / kind / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
