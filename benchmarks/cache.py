"""The user's cache: where the rendered world lies, and what is known about data already checked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    """What `write_cached` kept, or None; a file that cannot be read counts as not there."""
    try:
        found = json.loads(_entry(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_cached(kind: str, key: str, value: dict[str, Any]) -> None:
    """Keep `value` for the next start. A cache that cannot be written costs only time."""
    entry = _entry(kind, key)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(entry, value)
    except OSError:
        return


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file; waits while another process holds it, and ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _entry(kind: str, key: str) -> Path:
    return cache_folder() / kind / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
