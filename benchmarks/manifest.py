"""What every file of a stage was when all of it was last read: size, time and sha256.

Kept in the user's cache, by stage and root.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from backbones.atomic import sha256_file
from benchmarks.cache import DamagedEntry, read_kept, write_cached
from benchmarks.dataset_files import DatasetFiles
from benchmarks.errors import DataError
from benchmarks.worker_pool import as_done, usable_processes

FILES_PER_TASK = 200


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """size: in bytes; mtime_ns: of the last change, in nanoseconds."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """files: by path below the root. left_out: unusable images that were tolerated. read_on: the
    day, UTC."""

    files: Mapping[str, FileFacts]
    left_out: tuple[str, ...]
    read_on: str

    @property
    def digest(self) -> str:
        """sha256 over sorted paths, sizes and contents; independent of place and time."""
        lines = (f"{n}\t{f.size}\t{f.sha256}\n" for n, f in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_facts(path: Path) -> FileFacts:
    """Reads the whole file. Raises DataError naming it where it cannot be read."""
    try:
        found = os.stat(path)
        return FileFacts(size=found.st_size, mtime_ns=found.st_mtime_ns, sha256=sha256_file(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def read_manifest(stage: str, root: Path) -> Manifest | None:
    """None where there is none. Raises DataError naming the file of one that is damaged."""
    try:
        found = read_kept("manifests", _key(stage, root))
    except DamagedEntry as error:
        raise DataError(f"what the files in {root} were is not known any more: {error}") from error
    if found is None:
        return None
    files = {
        name: FileFacts(size=size, mtime_ns=mtime_ns, sha256=sha256)
        for name, (size, mtime_ns, sha256) in found["files"].items()
    }
    return Manifest(files=files, left_out=tuple(found["left_out"]), read_on=found["read_on"])


def write_manifest(stage: str, root: Path, manifest: Manifest) -> bool:
    """Whole or not at all; False where the cache cannot be written."""
    content = {
        "read_on": manifest.read_on,
        "digest": manifest.digest,
        "left_out": list(manifest.left_out),
        "files": {n: [f.size, f.mtime_ns, f.sha256] for n, f in sorted(manifest.files.items())},
    }
    return write_cached("manifests", _key(stage, root), content)


def changed_files(
    manifest: Manifest, now: Mapping[str, FileFacts], files: DatasetFiles
) -> tuple[str, ...]:
    """One sentence for each file that is gone, new, or of another content than in `manifest`."""
    expected = {name for name, _ in files.stats()}
    lines = []
    for name in sorted(expected.union(manifest.files)):
        was, found = manifest.files.get(name), now.get(name)
        path = files.root / name
        if name not in expected:
            lines.append(f"{path} is not part of the data any more")
        elif was is None:
            lines.append(f"{path} is new")
        elif found is None:
            lines.append(f"{path} is gone")
        elif found.sha256 != was.sha256:
            silent = found.size == was.size and found.mtime_ns == was.mtime_ns
            how = ", with the size and time that it had" if silent else ""
            lines.append(f"{path} has other content{how}")
    return tuple(lines)


def hash_files(files: DatasetFiles) -> dict[str, FileFacts]:
    """Facts of every file that can be read, by several processes where there are many."""
    names = [name for name, found in files.stats() if found is not None]
    tasks = [names[i : i + FILES_PER_TASK] for i in range(0, len(names), FILES_PER_TASK)]
    facts: dict[str, FileFacts] = {}
    for done in as_done(partial(_facts_of, files.root), tasks, processes=usable_processes()):
        facts.update(done)
    return facts


def _facts_of(root: Path, names: list[str]) -> dict[str, FileFacts]:
    facts = {}
    for name in names:
        try:
            facts[name] = file_facts(root / name)
        except DataError:
            continue
    return facts


def _key(stage: str, root: Path) -> str:
    return json.dumps([stage, str(root)])
