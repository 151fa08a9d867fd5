"""`trickle validate`: what was found in the data of a benchmark, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.schema import Benchmark

if TYPE_CHECKING:  # imports OpenCV
    from benchmarks.full_validation import StageReport

SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """refused: why the data cannot be used, in lines; empty where it can. full: whether it was to
    be compared with what it was."""

    benchmark: str
    tolerate: int
    full: bool
    reports: Sequence[StageReport]
    refused: tuple[str, ...]


def validate_benchmark(
    benchmark: Benchmark, *, tolerate: int, full: bool, workers: int | None
) -> Verdict:
    """Reads every file of the benchmark's data once, rendering it first where it is rendered.

    full: files that have changed since all were last read refuse it, and so does a damaged
    manifest. Raises ValueError where a folder or list is missing.
    """
    from benchmarks.full_validation import validate_fully
    from benchmarks.prepare import place

    placed = place(benchmark, full=True)
    reports = validate_fully(placed, tolerate=tolerate, full=full, workers=workers)
    problems = [problem for report in reports for problem in report.problems.values()]
    refused: list[str] = []
    if len(problems) > tolerate:
        allowed = f", and {tolerate} are tolerated" if tolerate else ""
        refused.append(f"{_count(len(problems), 'file')} cannot be used{allowed}:")
        refused += [f"  {problem}" for problem in problems]
        refused.append(
            "Repair them or take them out of the data; or leave them out by "
            f"--tolerate {len(problems)}, here and in every run."
        )
    changed = [line for report in reports for line in report.changed]
    if full and changed:
        refused.append(f"{_count(len(changed), 'file')} changed since all were last read:")
        refused += [f"  {line}" for line in changed]
        refused.append("Restore them; or accept the data as it is by leaving out --full.")
    damaged = [report.damaged for report in reports if report.damaged]
    if full and damaged:
        refused += damaged
        refused.append("Restore it; or accept the data as it is by leaving out --full.")
    return Verdict(
        benchmark=benchmark.name,
        tolerate=tolerate,
        full=full,
        reports=reports,
        refused=tuple(refused),
    )


def to_text(verdict: Verdict) -> str:
    """A summary for people; what is refused is not in it."""
    from benchmarks.full_validation import not_kept, nothing_to_compare_with

    lines = []
    for report in verdict.reports:
        lines.append(f"{verdict.benchmark}, {report.stage}: {report.root}")
        size = report.manifest.files.total_bytes
        lines.append(f"  {_count(len(report.manifest.files), 'file')}, {size / 1e6:,.1f} MB")
        for split, images in report.images.items():
            counts = sorted(report.counts.get(split, {}).items(), key=lambda item: item[1])
            what = f"  {split}: {_count(images, 'image')}, {_count(len(counts), 'class')}"
            if counts:
                (fewest, least), (most, largest) = counts[0], counts[-1]
                total = sum(count for _, count in counts)
                what += "" if report.unit == "images" else f", {total:,} {report.unit}"
                what += f" (fewest {least:,}: {fewest}; most {largest:,}: {most})"
            lines.append(what)
        lines += [f"  warning: {warning}" for warning in report.warnings]
        if (unkept := not_kept(report)) is not None:
            lines.append(f"  warning: {unkept}")
        if verdict.full and (first := nothing_to_compare_with(report)) is not None:
            lines.append(f"  {first}")
        if not verdict.full and report.damaged is not None:
            lines.append(f"  warning: {report.damaged}; read now, and compared from now on")
        lines += _shown(report.problems.values(), "left out")
        lines += _shown(report.changed, "changed since all was last read")
        same = [f"{test} has the pixels of {train}" for train, test in report.duplicates]
        lines += _shown(same, f"test image{'s' * (len(same) != 1)} among the training images")
        lines.append(f"  digest of all content: {report.manifest.digest}")
    return "\n".join(lines)


def to_report(verdict: Verdict) -> dict[str, Any]:
    """The same for programs, whole."""
    return {
        "benchmark": verdict.benchmark,
        "ok": not verdict.refused,
        "tolerate": verdict.tolerate,
        "refused": list(verdict.refused),
        "stages": {
            report.stage: {
                "root": str(report.root),
                "files": len(report.manifest.files),
                "bytes": report.manifest.files.total_bytes,
                "images": report.images,
                "unit": report.unit,
                "counts": report.counts,
                "problems": report.problems,
                "warnings": list(report.warnings),
                "duplicates": [list(pair) for pair in report.duplicates],
                "changed": list(report.changed),
                "compared": report.compared,
                "damaged": report.damaged,
                "kept": not verdict.refused and not report.unkept,
                "digest": report.manifest.digest,
            }
            for report in verdict.reports
        },
    }


def _shown(lines: Iterable[str], title: str) -> list[str]:
    every = list(lines)
    if not every:
        return []
    shown = [f"    {line}" for line in every[:SHOWN]]
    if len(every) > SHOWN:
        shown.append(f"    and {len(every) - SHOWN:,} more (--json names all)")
    return [f"  {len(every):,} {title}:", *shown]


def _count(number: int, thing: str) -> str:
    plural = thing if number == 1 else f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number:,} {plural}"
