"""Which world a specification gives: it names the folder in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks.world_spec import WorldSpec


def world_digest(spec: WorldSpec) -> str:
    """sha256 of the specification and of the renderer's own source.

    So an edit of either is another folder, and no version number can be forgotten.
    """
    summary = hashlib.sha256(spec.model_dump_json().encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        summary.update(f"\n{source.name}\n".encode())
        summary.update(source.read_bytes())
    return summary.hexdigest()
