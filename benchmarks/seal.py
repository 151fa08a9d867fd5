"""The seal of a rendered world: shows whether a file was added, removed or cut off since."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from backbones.atomic import write_json_atomic
from benchmarks.errors import DataError

SEAL = "world.json"


def write_seal(folder: Path, facts: dict[str, object]) -> None:
    """Seal a finished folder; `facts` say what made it."""
    files, digest = _tree_digest(folder)
    write_json_atomic(folder / SEAL, {**facts, "files": files, "tree_sha256": digest})


def check_seal(folder: Path) -> None:
    """DataError unless `folder` holds the files that were sealed, each with its size."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        expected = sealed["files"], sealed["tree_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(folder, f"its {SEAL} cannot be read") from error
    found = _tree_digest(folder)
    if found != expected:
        raise _broken(folder, f"{expected[0]} files were rendered, {found[0]} are there")


def _broken(folder: Path, what: str) -> DataError:
    return DataError(
        f"the rendered world in {folder} has been changed ({what}); "
        "delete that folder, and the next run renders it again"
    )


def _tree_digest(folder: Path) -> tuple[int, str]:
    """Number of files, and sha256 over their sorted relative paths and sizes; without the seal."""
    lines: list[str] = []
    for parent, _, names in os.walk(folder):
        place = os.path.relpath(parent, folder)
        for name in names:
            if place != "." or name != SEAL:
                lines.append(f"{place}/{name}\t{os.stat(os.path.join(parent, name)).st_size}\n")
    return len(lines), hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
