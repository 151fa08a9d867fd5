"""Every file of a benchmark read once: decoded, checked, counted, compared, and written down."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.cache import CACHE_VARIABLE, cache_folder
from benchmarks.dataset_files import Finding, Sample, StageData
from benchmarks.errors import DataError
from benchmarks.fact_table import FactTable, FileFacts
from benchmarks.manifest import (
    Manifest,
    changed_files,
    file_facts,
    hash_files,
    older_manifest,
    read_manifest,
    today,
    write_manifest,
)
from benchmarks.mini_world.progress import Progress
from benchmarks.pixels import read_rgb
from benchmarks.schema import Benchmark
from benchmarks.validation import (
    checks_key,
    conclude,
    listed,
    refuse_more_than,
    remember,
    stage_data,
)
from benchmarks.worker_pool import as_done, usable_processes
from engine.processes import tell

_ACCEPT = "accept the data as it is by `trickle validate` without --full"

SAMPLES_PER_TASK = 50
SAMPLES_WORTH_A_PROCESS = 300
"""Reading fewer takes less time than starting a process."""


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What is in the data of a stage.

    unit: what `counts` counts (images, boxes, pixels), by split and class. images: by split.
    problems: by image; warnings: one sentence each. duplicates: (training image, test image) of
    equal pixels. changed: what differs from the last time that all was read; compared: the day of
    that, None where nothing is known of one; damaged: why, where it was known and is not any more.
    unkept: the cache could not be written, so that later runs know nothing of this.
    """

    stage: str
    root: Path
    unit: str
    images: dict[str, int]
    counts: dict[str, dict[str, int]]
    problems: dict[str, str]
    warnings: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]
    changed: tuple[str, ...]
    compared: str | None
    damaged: str | None
    manifest: Manifest
    unkept: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """finding: None where `problem` says why. pixels: sha256 of what was decoded; empty without."""

    image: str
    finding: Finding | None
    problem: str | None
    decoded: bool
    pixels: bytes


def validate_fully(
    benchmark: Benchmark, *, tolerate: int = 0, full: bool = False, workers: int | None = None
) -> list[StageReport]:
    """Read every file of `benchmark` (whose roots are absolute) once.

    Problems are reported, not raised; where there are at most `tolerate` of them and, with `full`,
    nothing has changed since all was last read (as far as is known), what was found is kept for
    later runs.
    workers: processes, by default one for each core and none for a few files.

    Raises DataError where a folder or list is missing, or too little is left.
    """
    read = []
    for stage in benchmark.stages:
        data = stage_data(benchmark, stage)
        fingerprint = data.files.fingerprint()
        read.append((data, fingerprint, *_read_all(benchmark, stage, data, workers)))
    reports = [
        _report(stage, getattr(benchmark, stage).root, data, samples, files)
        for stage, (data, _, samples, files) in zip(benchmark.stages, read, strict=True)
    ]
    total = sum(len(report.problems) for report in reports)
    if total > tolerate or (full and any(r.changed or r.damaged for r in reports)):
        return reports
    kept = []
    for report, (data, fingerprint, samples, _) in zip(reports, read, strict=True):
        _, checks = remember(
            checks_key(report.stage, data),
            data,
            fingerprint=fingerprint,
            problems=report.problems,
            undecodable=[image for image, item in samples.items() if not item.decoded],
            warnings=report.warnings,
            read_on=report.manifest.read_on,
            duplicates=len(report.duplicates),
        )
        manifest = write_manifest(report.stage, report.root, report.manifest)
        kept.append(replace(report, unkept=not (checks and manifest)))
    return kept


def require_unchanged(benchmark: Benchmark, *, tolerate: int = 0) -> None:
    """DataError naming what has changed since all files were last read, or a damaged manifest.

    Compares every byte of every file by its sha256. A stage of which nothing is known is said on
    standard error, and all is read now, to be compared from then on.
    """
    try:
        manifests = {s: read_manifest(s, getattr(benchmark, s).root) for s in benchmark.stages}
    except DataError as error:
        raise DataError(f"{error}\nRestore it; or {_ACCEPT}") from error
    for stage, manifest in manifests.items():
        if manifest is None:
            continue
        files = stage_data(benchmark, stage).files
        usable = files.without(manifest.left_out)
        if changed := changed_files(manifest, hash_files(usable), usable):
            raise DataError(changes(benchmark.name, stage, changed, manifest.read_on))
    if None not in manifests.values():
        return
    reports = validate_fully(benchmark, tolerate=tolerate, full=True)
    refuse_more_than(tolerate, benchmark.name, {r.stage: r.problems for r in reports})
    for report in reports:
        if report.changed and report.compared:  # since we looked, a moment ago
            raise DataError(changes(benchmark.name, report.stage, report.changed, report.compared))
        for line in (nothing_to_compare_with(report), not_kept(report)):
            if line is not None:
                tell(f"{benchmark.name}, {report.stage}: {line}")


def nothing_to_compare_with(report: StageReport) -> str | None:
    """What to say of data that should be compared and is read for the first time."""
    if report.compared is not None or report.damaged is not None:
        return None
    older = older_manifest(report.stage, report.root)
    why = "it was never read in full" if older is None else f"{older} is an earlier version's"
    return f"nothing to compare with: {why}; read now, and compared from now on"


def not_kept(report: StageReport) -> str | None:
    """What to say where the next run will know nothing of this one."""
    if not report.unkept:
        return None
    return (
        f"what was found cannot be written to {cache_folder()}, so that nothing can be compared "
        f"with it later; let the environment variable {CACHE_VARIABLE} name a folder that can be "
        "written"
    )


def changes(benchmark: str, stage: str, changed: Iterable[str], since: str) -> str:
    """What to say of files that have changed, and what to do."""
    lines = {line: line for line in changed}
    return (
        f"{stage} data of benchmark {benchmark} is not what was read on {since}:\n{listed(lines)}\n"
        f"Restore it; or {_ACCEPT}"
    )


def _read_all(
    benchmark: Benchmark, stage: str, data: StageData, workers: int | None
) -> tuple[dict[str, _Read], FactTable]:
    """What was found by image, and the facts of the files of those without a problem."""
    unique = list({sample.image: sample for sample in data.files.samples}.values())
    if workers is None:
        workers = min(usable_processes(), 1 + len(unique) // SAMPLES_WORTH_A_PROCESS)
    tasks = [unique[i : i + SAMPLES_PER_TASK] for i in range(0, len(unique), SAMPLES_PER_TASK)]
    progress = Progress(f"reading {benchmark.name}, {stage}", len(unique), "images")
    found: dict[str, _Read] = {}
    tables: list[FactTable] = []
    same: dict[str, Finding] = {}
    try:
        for done, files in as_done(partial(_read_samples, data), tasks, processes=max(1, workers)):
            # Of a million images most say the same: one object for all of them.
            for item in done:
                finding = item.finding and same.setdefault(repr(item.finding), item.finding)
                found[item.image] = replace(item, finding=finding)
            tables.append(files)
            progress.advance(len(done))
    finally:
        progress.close()
    return found, FactTable.joined(tables)


def _read_samples(data: StageData, samples: list[Sample]) -> tuple[list[_Read], FactTable]:
    files: dict[str, FileFacts] = {}
    return [_read_sample(data, sample, files) for sample in samples], FactTable.of(files)


def _read_sample(data: StageData, sample: Sample, files: dict[str, FileFacts]) -> _Read:
    """files: the facts of the sample's own are added."""
    finding, problem, pixels, decoded = None, None, b"", True
    root = data.files.root
    try:
        finding = data.inspect(sample)
        decoded = False
        pixels = _pixel_digest(root / sample.image)
        decoded = True
        files |= {name: file_facts(root / name) for name in sample.paths}
    except DataError as error:
        problem = str(error)
    return _Read(
        image=sample.image,
        finding=finding,
        problem=problem,
        decoded=decoded,
        pixels=pixels,
    )


def _pixel_digest(image: Path) -> bytes:
    pixels = read_rgb(image)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def _usable_finding(item: _Read) -> Finding:
    assert item.finding is not None, "only a problem leaves none"
    return item.finding


def _tests_by_pixels(data: StageData, read: dict[str, _Read]) -> dict[bytes, list[str]]:
    """The usable test images of equal pixels. There are fewer of them than training images."""
    found: defaultdict[bytes, list[str]] = defaultdict(list)
    for sample in data.files.samples:
        if sample.split == data.test and read[sample.image].problem is None:
            found[read[sample.image].pixels].append(sample.image)
    return found


def _report(
    stage: str, root: Path, data: StageData, read: dict[str, _Read], files: FactTable
) -> StageReport:
    problems = {i: item.problem for i, item in read.items() if item.problem is not None}
    images: Counter[str] = Counter()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    tests = _tests_by_pixels(data, read)
    pairs: list[tuple[str, str]] = []
    for sample in data.files.samples:
        if sample.image in problems:
            continue
        images[sample.split] += 1
        counts[sample.split].update(_usable_finding(read[sample.image]).counts)
        if sample.split != data.test:  # the first of equal training images is named
            pairs += [(sample.image, t) for t in tests.pop(read[sample.image].pixels, ())]
    lists = {name: file_facts(data.files.root / name) for name in data.files.lists}
    table = FactTable.joined([files, FactTable.of(lists)])
    manifest = Manifest(files=table, left_out=tuple(sorted(problems)), read_on=today())
    before, damaged = None, None
    try:
        before = read_manifest(stage, root)
    except DataError as error:
        damaged = str(error)
    usable = data.files.without(problems)
    usable_samples = (
        (sample, _usable_finding(read[sample.image]))
        for sample in data.files.samples
        if sample.image not in problems
    )
    return StageReport(
        stage=stage,
        root=root,
        unit=data.unit,
        images=dict(images),
        counts={split: dict(sorted(found.items())) for split, found in counts.items()},
        problems=problems,
        warnings=conclude(data, usable_samples, problems),
        duplicates=tuple(sorted(pairs)),
        changed=() if before is None else changed_files(before, table, usable),
        compared=None if before is None else before.read_on,
        damaged=damaged,
        manifest=manifest,
    )
