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


class DamagedEntry(ValueError):
    """A file of the cache that is not as it was written, or cannot be read; names it."""


def read_kept(kind: str, key: str) -> dict[str, Any] | None:
    """What `write_cached` kept, or None where nothing was. Raises DamagedEntry."""
    entry = cache_entry(kind, key)
    try:
        found = json.loads(entry.read_text(encoding="utf-8"))
        value: dict[str, Any] = found["value"]
        whole = found["sha256"] == _checksum(value)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedEntry(f"{entry} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedEntry(f"{entry} is damaged") from error
    if not whole:
        raise DamagedEntry(f"{entry} is damaged")
    return value


def read_cached(kind: str, key: str) -> dict[str, Any] | None:
    """The same for what can be found out again: what is damaged counts as none."""
    try:
        return read_kept(kind, key)
    except DamagedEntry:
        return None


def write_cached(kind: str, key: str, value: dict[str, Any]) -> bool:
    """Keep `value` for the next start; False where the cache cannot be written."""
    entry = cache_entry(kind, key)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(entry, {"sha256": _checksum(value), "value": value})
    except OSError:
        return False
    return True


def _checksum(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def cache_entry(kind: str, key: str, *, suffix: str = ".json") -> Path:
    """The file of what is kept under `key`."""
    return cache_folder() / kind / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{suffix}"
