"""A benchmark made ready: its world rendered where it has one, its data checked and digested."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cache import CACHE_VARIABLE, cache_folder
from benchmarks.errors import DataError
from benchmarks.missing_data import require_data
from benchmarks.schema import Benchmark
from benchmarks.seal import check_seal
from benchmarks.validation import ValidatedData, validate
from engine.locks import exclusive
from engine.processes import tell


@dataclass(frozen=True, kw_only=True)
class PreparedBenchmark:
    """benchmark: with absolute roots and what is left out; digests: of the data that is left, by
    stage ("pretraining", ...). tolerate: how many unusable images could be left out. duplicates:
    how many test images are known to be among the training images, by stage."""

    benchmark: Benchmark
    digests: dict[str, str]
    tolerate: int = 0
    duplicates: dict[str, int] = field(default_factory=dict)

    def notes(self, stage: str) -> tuple[str, ...]:
        """What a reader of the numbers of `stage` should know of its data."""
        left_out = len(getattr(self.benchmark, stage).left_out)
        notes = []
        if left_out:
            files = f"{left_out} unusable {'file was' if left_out == 1 else 'files were'}"
            notes.append(f"{files} left out (--tolerate {self.tolerate})")
        if duplicates := self.duplicates.get(stage):
            notes.append(_among_the_training_images(duplicates))
        return tuple(notes)


def ensure_ready(
    benchmark: Benchmark, *, warn: bool = True, tolerate: int = 0, full: bool = False
) -> PreparedBenchmark:
    """Render the benchmark's world, if it has one that is not in the cache; check all its data.

    Rendering happens once: another process that asks for the same world waits for it. Warnings
    about the data go to stderr, unless the caller is a job of a run that has told them already
    (warn=False). tolerate: how many unusable images are left out, see `validate`. full: compare
    every byte with what it was when it was rendered, or first read in full.

    Raises DataError: data that is missing or damaged, or a cache that cannot be written.
    """
    ready = place(benchmark, full=full)
    if full:
        from benchmarks.full_validation import require_unchanged

        require_unchanged(ready, tolerate=tolerate)
    return _validated(ready, warn=warn, tolerate=tolerate)


def find_ready(
    benchmark: Benchmark, *, tolerate: int = 0, full: bool = False
) -> PreparedBenchmark | None:
    """As `ensure_ready`, but None where the world would have to be rendered first."""
    if benchmark.world is not None and not world_folder(benchmark).is_dir():
        return None
    return ensure_ready(benchmark, tolerate=tolerate, full=full)


def place(benchmark: Benchmark, *, full: bool = False) -> Benchmark:
    """The benchmark with absolute roots, its world rendered and its seal whole.

    full: compare every byte of the world. Raises DataError as `ensure_ready` does.
    """
    if benchmark.world is None:
        require_data(benchmark)
        return benchmark
    folder = world_folder(benchmark)
    if not folder.is_dir():
        _render_once(benchmark, folder)
    check_seal(folder, full=full)
    placed = {}
    for stage in benchmark.stages:
        budget = getattr(benchmark, stage)
        places = {key: folder / place for key, place in budget.places().items()}
        placed[stage] = budget.model_copy(update=places)
    return benchmark.model_copy(update=placed)


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


def _validated(benchmark: Benchmark, *, warn: bool, tolerate: int) -> PreparedBenchmark:
    found = validate(benchmark, tolerate=tolerate)
    budgets = {}
    for stage, data in found.items():
        budgets[stage] = getattr(benchmark, stage).leaving_out(data.left_out)
        warnings = [f"left out, {problem}" for problem in data.left_out.values()]
        if data.duplicates:
            same = _among_the_training_images(data.duplicates)
            warnings.append(f"{same} (`trickle validate` names each)")
        for warning in [*data.warnings, *warnings] if warn else ():
            tell(f"{benchmark.name}, {stage}: {warning}")
    if warn and benchmark.world is None:
        tell(f"{benchmark.name}: {_how_far_read(found.values())}")
    return PreparedBenchmark(
        benchmark=benchmark.model_copy(update=budgets),
        digests={stage: data.digest for stage, data in found.items()},
        tolerate=tolerate,
        duplicates={stage: data.duplicates for stage, data in found.items()},
    )


def _among_the_training_images(duplicates: int) -> str:
    images = "test image is" if duplicates == 1 else "test images are"
    return f"{duplicates:,} {images} among the training images, pixel by pixel"


def _how_far_read(found: Iterable[ValidatedData]) -> str:
    days = [data.read_on for data in found]
    if None in days:
        return "the headers of all files are checked; `trickle validate` reads the files in full"
    return f"every file was read in full on {min(day for day in days if day)}"
