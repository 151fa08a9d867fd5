"""The whole world drawn to disk by several processes: it is there entirely, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.mini_world.progress import Progress
from benchmarks.mini_world.version import world_digest
from benchmarks.mini_world.writers import Part, make_folders, render_part, write_image_sets
from benchmarks.seal import write_seal
from benchmarks.worker_pool import as_done, usable_processes
from benchmarks.world_spec import TaskCounts, WorldSpec

PART_SIZE = {"pretraining": 200, "detection": 25, "segmentation": 25}
IMAGES_WORTH_A_PROCESS = 300
"""Drawing fewer takes less time than starting a process."""


def render_world(spec: WorldSpec, directory: Path, *, processes: int | None = None) -> None:
    """Render `imagenet/`, `VOCdevkit/` and `ADEChallengeData2016/` into `directory`.

    The same spec gives the same files whatever the number of processes (default: the cores this
    process may use, at most 8, and none but this one for a small world). What is written lies
    in `<directory>.partial` until it is whole; what a killed call left there is removed first.
    """
    if processes is None:
        worth = 1 + _image_count(spec) // IMAGES_WORTH_A_PROCESS
        processes = min(usable_processes(), worth)
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        make_folders(partial)
        write_image_sets(spec, partial)
        _render_parts(spec, partial, processes)
        write_seal(partial, {"world_sha256": world_digest(spec), "spec": spec.model_dump()})
        # One sync for all: an fsync for each of some 13,000 files takes longer than drawing them.
        os.sync()
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _render_parts(spec: WorldSpec, directory: Path, processes: int) -> None:
    parts = list(_parts(spec))
    progress = Progress("rendering the mini world", _image_count(spec), "images")
    try:
        for count in as_done(partial(_render, spec, directory), parts, processes=processes):
            progress.advance(count)
    finally:
        progress.close()


def _render(spec: WorldSpec, directory: Path, part: Part) -> int:
    return render_part(spec, part, directory)


def _image_count(spec: WorldSpec) -> int:
    return sum(part.stop - part.start for part in _parts(spec))


def _parts(spec: WorldSpec) -> Iterator[Part]:
    """The world in pieces, the slow ones first, so that no process is left with a long one."""
    for task in ("detection", "segmentation", "pretraining"):
        counts: TaskCounts = getattr(spec, task)
        for test, count in enumerate((counts.train, counts.test)):
            for start in range(0, count, PART_SIZE[task]):
                stop = min(count, start + PART_SIZE[task])
                yield Part(task=task, test=test, start=start, stop=stop)
