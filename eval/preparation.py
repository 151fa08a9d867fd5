"""`trickle prepare`: what was made ready, and what to do next, as text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.official.prepare_data import Prepared


def to_text(prepared: Prepared) -> str:
    """For people."""
    counts = ", ".join(f"{split} {images:,}" for split, images in prepared.release.counts.items())
    target = shlex.quote(str(prepared.folder.parent))
    lines = [f"{prepared.folder}: {prepared.release.title} {prepared.how}. Images: {counts}."]
    if prepared.missing:
        lines.append("The benchmark paper needs the rest beside it:")
        lines += [
            f"  trickle prepare {dataset} --from DIR --to {target}" for dataset in prepared.missing
        ]
    else:
        trickle = f"TRICKLE_DATA={target} trickle"
        lines += [
            "Next, read every file once; then run:",
            f"  {trickle} validate paper",
            f"  {trickle} run --benchmark paper --backbone resnet50d_mixup",
        ]
    return "\n".join(lines)
