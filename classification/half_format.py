"""Which number format `half` means on this machine: measured once, kept in the user's cache."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from benchmarks.cache import cache_entry, read_cached, write_cached
from engine.checkpoints import choices
from engine.fast_paths import is_fast
from engine.half_probe import HalfProbe, probe_half
from engine.locks import exclusive
from engine.machine_limits import cpu_name, half_instructions
from engine.precision import Precision, supported_half
from engine.processes import of_the_first

_KIND = "half_precision"


@dataclass(frozen=True, kw_only=True)
class HalfFormat:
    """why: for a log. remark: for a reader of the result, None where there is nothing to say."""

    precision: Precision
    why: str
    remark: str | None = None

    @property
    def choices(self) -> dict[str, str]:
        """To be kept in a training's checkpoints, for `half_format_of`."""
        return {_KIND: self.precision}


def half_format_of(work_dir: Path) -> HalfFormat:
    """What `half` means for the training whose checkpoints lie in `work_dir`: what it meant when it
    began, else `half_format`; the same in all its processes."""
    return of_the_first(lambda: _begun_with(work_dir))


def _begun_with(work_dir: Path) -> HalfFormat:
    now, begun = half_format(), choices(work_dir).get(_KIND)
    if begun is None or begun == now.precision:
        return now
    return HalfFormat(
        precision=cast("Precision", begun),
        why="with which this training began",
        remark=f"half precision stays {begun}, with which this training began; now it would be "
        f"{now.precision} ({now.why})",
    )


def half_format() -> HalfFormat:
    """float16 on CUDA; on a CPU with instructions for bfloat16 that format, where a short
    measurement finds it faster and right enough; else float32.

    The measurement is kept for the processor and torch's version: all jobs of a machine choose
    alike. One whose file is damaged is made anew.
    """
    if not is_fast("half"):
        return HalfFormat(precision="float32", why="half precision is switched off")
    supported = supported_half()
    if supported == "float32":
        return HalfFormat(precision="float32", why="no instructions for half precision")
    if supported == "float16":
        return HalfFormat(precision="float16", why="a GPU")
    found = _kept_or_measured()
    return HalfFormat(precision="bfloat16" if found.pays else "float32", why=found.in_words())


def _kept_or_measured() -> HalfProbe:
    key = json.dumps([cpu_name(), half_instructions(), torch.__version__])
    found = _kept(key)
    if found is not None:
        return found
    entry = cache_entry(_KIND, key, suffix=".lock")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(entry):  # of jobs that start together one measures
            found = _kept(key)
            if found is None:
                found = probe_half()
                write_cached(_KIND, key, found.to_dict())
    except OSError:  # a cache that cannot be written
        found = probe_half()
    return found


def _kept(key: str) -> HalfProbe | None:
    try:
        return HalfProbe(**(read_cached(_KIND, key) or {}))
    except TypeError:
        return None
