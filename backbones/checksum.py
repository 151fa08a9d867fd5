"""A JSON object that carries the SHA-256 of its own content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from backbones.atomic import write_json_atomic

_FIELD = "checksum"


class DamagedFile(ValueError):
    """A JSON file whose content is not what was written."""


def write_checked_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Writes the object with its checksum; otherwise as `write_json_atomic`."""
    plain = json.loads(json.dumps(content, allow_nan=False))  # keys are strings, as when read
    write_json_atomic(path, {**plain, _FIELD: checksum(plain)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """The object without its checksum.

    One that was written by hand, without a checksum, is taken as it is. Raises DamagedFile where
    the file is no JSON object or its content is not that of the checksum; OSError where it cannot
    be read.
    """
    try:
        content = from_json(path.read_bytes(), allow_inf_nan=False)
    except ValueError as error:
        raise DamagedFile(f"it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedFile("it holds no JSON object")
    stated = content.pop(_FIELD, None)
    if stated is not None and stated != checksum(content):
        raise DamagedFile(
            "its checksum is not that of its content: it was damaged, or changed by hand (then "
            f'delete its "{_FIELD}")'
        )
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """64 hexadecimal digits, the same for every order of the keys and every spacing."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
