"""What every file of a stage was when all of it was last read: size, time and sha256.

Kept in the user's cache, by stage and root.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from backbones.atomic import sha256_file
from benchmarks.array_file import read_arrays, write_arrays
from benchmarks.cache import DamagedEntry, cache_entry
from benchmarks.dataset_files import DatasetFiles
from benchmarks.errors import DataError
from benchmarks.fact_table import FactTable, FileFacts, grouped_names
from benchmarks.name_table import NameTable
from benchmarks.worker_pool import as_done, usable_processes

FILES_PER_TASK = 200


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """files: by path below the root. left_out: unusable images that were tolerated. read_on: the
    day, UTC."""

    files: FactTable
    left_out: tuple[str, ...]
    read_on: str

    @property
    def digest(self) -> str:
        """sha256 over sorted paths, sizes and contents; independent of place and time."""
        return self.files.digest()


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
        found = read_arrays("manifests", _key(stage, root))
    except DamagedEntry as error:
        raise DataError(f"what the files in {root} were is not known any more: {error}") from error
    if found is None:
        return None
    kept = found.arrays
    names = NameTable(kept["text"], kept["ends"])
    files = FactTable(names, kept["sizes"], kept["times"], kept["hashes"])
    left_out = tuple(found.facts["left_out"])
    return Manifest(files=files, left_out=left_out, read_on=found.facts["read_on"])


def older_manifest(stage: str, root: Path) -> Path | None:
    """The file of one that an earlier version kept and this one cannot read, where there is one."""
    path = cache_entry("manifests", _key(stage, root), suffix=".json")
    return path if path.exists() else None


def write_manifest(stage: str, root: Path, manifest: Manifest) -> bool:
    """Whole or not at all; False where the cache cannot be written."""
    files = manifest.files
    facts = {"read_on": manifest.read_on, "left_out": list(manifest.left_out)}
    arrays = {
        "text": files.names.text,
        "ends": files.names.ends,
        "sizes": files.sizes,
        "times": files.times,
        "hashes": files.hashes,
    }
    return write_arrays("manifests", _key(stage, root), facts, arrays)


def changed_files(
    manifest: Manifest, now: Mapping[str, FileFacts], files: DatasetFiles
) -> tuple[str, ...]:
    """One sentence for each file that is gone, new, or of another content than in `manifest`."""
    lines = []
    # Both are sorted; of a million files no set is made.
    expected, known = files.names(), iter(manifest.files)
    for name, sources in grouped_names(expected, known):
        was, found = manifest.files.get(name), now.get(name)
        path = files.root / name
        if 0 not in sources:
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


def hash_files(files: DatasetFiles) -> FactTable:
    """Facts of every file that can be read, by several processes where there are many."""
    names = [name for name, found in files.stats() if found is not None]
    tasks = [names[i : i + FILES_PER_TASK] for i in range(0, len(names), FILES_PER_TASK)]
    done = as_done(partial(_facts_of, files.root), tasks, processes=usable_processes())
    return FactTable.joined(list(done))


def _facts_of(root: Path, names: list[str]) -> FactTable:
    facts = {}
    for name in names:
        try:
            facts[name] = file_facts(root / name)
        except DataError:
            continue
    return FactTable.of(facts)


def _key(stage: str, root: Path) -> str:
    return json.dumps([stage, str(root)])
