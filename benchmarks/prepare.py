"""A benchmark made ready: its world rendered where it has one, its data checked and digested."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cache import CACHE_VARIABLE, cache_folder, exclusive
from benchmarks.errors import DataError
from benchmarks.schema import Benchmark
from benchmarks.seal import check_seal
from benchmarks.validation import validate_stage


@dataclass(frozen=True, kw_only=True)
class PreparedBenchmark:
    """benchmark: with absolute roots; digests: of the data, by stage ("pretraining", ...)."""

    benchmark: Benchmark
    digests: dict[str, str]


def ensure_ready(benchmark: Benchmark, *, warn: bool = True) -> PreparedBenchmark:
    """Render the benchmark's world, if it has one that is not in the cache; check all its data.

    Rendering happens once: another process that asks for the same world waits for it. Warnings
    about the data go to stderr, unless the caller is a job of a run that has told them already
    (warn=False).

    Raises DataError: data that is missing or damaged, or a cache that cannot be written.
    """
    if benchmark.world is None:
        return _validated(benchmark, warn=warn)
    folder = world_folder(benchmark)
    if not folder.is_dir():
        _render_once(benchmark, folder)
    return _in_world(benchmark, folder, warn=warn)


def find_ready(benchmark: Benchmark) -> PreparedBenchmark | None:
    """As `ensure_ready`, but None where the world would have to be rendered first."""
    if benchmark.world is None:
        return _validated(benchmark, warn=True)
    folder = world_folder(benchmark)
    return _in_world(benchmark, folder, warn=True) if folder.is_dir() else None


def world_folder(benchmark: Benchmark) -> Path:
    """Where a benchmark's world lies: the cache, by what it consists of and who draws it."""
    from benchmarks.mini_world.version import world_digest

    if benchmark.world is None:
        raise ValueError(f"benchmark {benchmark.name} has no [world] to render")
    return cache_folder() / "worlds" / f"world-{world_digest(benchmark.world)[:16]}"


def _render_once(benchmark: Benchmark, folder: Path) -> None:
    from benchmarks.mini_world.render_world import render_world

    assert benchmark.world is not None
    try:
        with exclusive(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():  # another process may have rendered it while this one waited
                render_world(benchmark.world, folder)
    except OSError as error:
        raise DataError(
            f"the data of benchmark {benchmark.name} cannot be written to {folder}: {error}; "
            f"let the environment variable {CACHE_VARIABLE} name a folder that can be written"
        ) from error


def _in_world(benchmark: Benchmark, folder: Path, *, warn: bool) -> PreparedBenchmark:
    check_seal(folder)
    placed = {}
    for stage in benchmark.stages:
        budget = getattr(benchmark, stage)
        placed[stage] = budget.model_copy(update={"root": folder / budget.root})
    return _validated(benchmark.model_copy(update=placed), warn=warn)


def _validated(benchmark: Benchmark, *, warn: bool) -> PreparedBenchmark:
    digests = {}
    for stage in benchmark.stages:
        data = validate_stage(benchmark, stage)
        digests[stage] = data.digest
        for warning in data.warnings if warn else ():
            print(f"{benchmark.name}, {stage}: {warning}", file=sys.stderr)
    return PreparedBenchmark(benchmark=benchmark, digests=digests)
