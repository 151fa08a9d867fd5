"""Which world a specification gives: it names the folder in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks.world_spec import WorldSpec

NOT_DRAWING = ("progress.py", "render_world.py", "version.py")
"""Sources that decide in which order images are drawn, not how they look."""


def world_digest(spec: WorldSpec) -> str:
    """sha256 of the specification and of the renderer's own source.

    So an edit of either is another folder, and there is no version number to forget.
    """
    summary = hashlib.sha256(spec.model_dump_json().encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        if source.name not in NOT_DRAWING:
            summary.update(f"\n{source.name}\n".encode())
            summary.update(source.read_bytes())
    return summary.hexdigest()
