"""The seal of a rendered world: shows whether any byte of it has changed since it was rendered.

`world.json` holds what made the world, the number of its files and a digest of their names and
sizes, compared at every start; `content.json` the sha256 of every file, compared when a size or
modification time is not that of the last comparison, or when asked.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from backbones.atomic import sha256_file, write_json_atomic
from benchmarks.cache import read_cached, write_cached
from benchmarks.errors import DataError

SEAL, CONTENT = "world.json", "content.json"
_SHOWN = 5


def write_seal(folder: Path, facts: dict[str, object]) -> None:
    """Seal a finished folder; `facts` say what made it."""
    write_json_atomic(folder / CONTENT, _content(folder))
    count, tree, _ = _tree(folder)
    sealed = {**facts, "files": count, "tree_sha256": tree}
    write_json_atomic(folder / SEAL, {**sealed, "content_sha256": sha256_file(folder / CONTENT)})


def check_seal(folder: Path, *, full: bool = False) -> None:
    """DataError unless `folder` holds what was sealed; full: compare every byte in any case.

    A world that was rendered before seals had a content gets one now, as its files are.
    """
    try:
        _check_seal(folder, full=full)
    except OSError as error:
        raise _broken(folder, f"{error.filename} cannot be read: {error.strerror}") from error


def _check_seal(folder: Path, *, full: bool) -> None:
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        expected = sealed["files"], sealed["tree_sha256"]
        content_sha256 = sealed.get("content_sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(folder, f"its {SEAL} cannot be read") from error
    count, tree, stamp = _tree(folder)
    if (count, tree) != expected:
        raise _broken(folder, f"{expected[0]} files were rendered, {count} are there")
    if content_sha256 is None:
        facts = {k: v for k, v in sealed.items() if k not in ("files", "tree_sha256")}
        with suppress(PermissionError):  # somebody else's cache is used as it is
            write_seal(folder, facts)
            content_sha256 = sha256_file(folder / CONTENT)
    elif not full and read_cached("seals", str(folder)) == {"stamp": stamp, "is": content_sha256}:
        return
    else:
        _check_content(folder, content_sha256)
    write_cached("seals", str(folder), {"stamp": stamp, "is": content_sha256})


def _check_content(folder: Path, content_sha256: str) -> None:
    if sha256_file(folder / CONTENT) != content_sha256:
        raise _broken(folder, f"its {CONTENT} is not the one that was written")
    rendered = json.loads((folder / CONTENT).read_text(encoding="utf-8"))
    found = _content(folder)
    changed = sorted(name for name in rendered if found.get(name) != rendered[name])
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise _broken(folder, f"other bytes in {', '.join(changed[:_SHOWN])}{more}")


def _broken(folder: Path, what: str) -> DataError:
    return DataError(
        f"the rendered world in {folder} has been changed ({what}); "
        "delete that folder, and the next run renders it again"
    )


def _content(folder: Path) -> dict[str, str]:
    """sha256 by name, sorted."""
    names = sorted(name for name, _ in _files(folder))
    return {name: sha256_file(folder / name) for name in names}


def _tree(folder: Path) -> tuple[int, str, str]:
    """Number of files; sha256 over their sorted names and sizes; the same with their times."""
    tree: list[str] = []
    stamp: list[str] = []
    for name, found in _files(folder):
        tree.append(f"{name}\t{found.st_size}\n")
        stamp.append(f"{name}\t{found.st_size}\t{found.st_mtime_ns}\n")
    return len(tree), _digest(tree), _digest(stamp)


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below `folder` by its relative path, without the seal."""
    for parent, _, names in os.walk(folder):
        place = os.path.relpath(parent, folder)
        for name in names:
            if place != "." or name not in (SEAL, CONTENT):
                yield f"{place}/{name}", os.stat(os.path.join(parent, name))
