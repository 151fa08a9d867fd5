"""Arrays in the user's cache that are memory-mapped, and refused when a byte of them has changed.

A file is the sha256 of all that follows it (a line), a JSON object (a line), and the arrays, each
at a multiple of 64 bytes.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backbones.atomic import atomic_file
from benchmarks.cache import DamagedEntry, cache_entry

_ALIGNED = 64
_DIGEST = 64 + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayFile:
    """path and sha256 say which file it is; facts and arrays: what was written, read-only."""

    path: Path
    sha256: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def write_arrays(
    kind: str,
    key: str,
    facts: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    replace: bool = True,
) -> bool:
    """Whole or not at all; False where the cache cannot be written.

    replace: whether a file that is there already is. Another machine that has mapped it over a
    network may lose the pages of one that is replaced.
    """
    path = cache_entry(kind, key, suffix=".arrays")
    summary = hashlib.sha256()
    for part in _parts(facts, arrays):
        summary.update(part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, replace=replace) as file:
            file.write(f"{summary.hexdigest()}\n".encode())
            for part in _parts(facts, arrays):
                file.write(part)
    except OSError:
        return False
    return True


def read_arrays(kind: str, key: str) -> ArrayFile | None:
    """None where nothing was written. Raises DamagedEntry."""
    path = cache_entry(kind, key, suffix=".arrays")
    try:
        return open_arrays(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedEntry(f"{path} cannot be read: {error.strerror}") from error


def open_arrays(path: Path) -> ArrayFile:
    """Reads every byte once, for the checksum. Raises DamagedEntry; OSError."""
    with open(path, "rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file
            raise DamagedEntry(f"{path} is damaged") from error
    with memoryview(content) as view, view[_DIGEST:] as body:
        digest = hashlib.sha256(body).hexdigest()
    if content[:_DIGEST] != f"{digest}\n".encode():
        raise DamagedEntry(f"{path} is damaged")
    end = content.find(b"\n", _DIGEST)
    header = json.loads(content[_DIGEST:end])
    start = _aligned(end + 1)
    arrays = {}
    for name, (dtype, shape) in header["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(content, dtype, count, start).reshape(shape)
        start = _aligned(start + arrays[name].nbytes)
    return ArrayFile(path=path, sha256=digest, facts=header["facts"], arrays=arrays)


def _parts(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[bytes | Any]:
    """All that the digest is of."""
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    header = json.dumps({"facts": facts, "arrays": shapes}).encode() + b"\n"
    yield header
    at = _DIGEST + len(header)
    for array in arrays.values():
        yield bytes(_aligned(at) - at)
        if array.nbytes:  # an empty one has no buffer
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        at = _aligned(at) + array.nbytes
    yield bytes(_aligned(at) - at)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNED) * _ALIGNED
