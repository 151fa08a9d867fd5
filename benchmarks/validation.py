"""The data of every stage, checked: cheaply at each start, thoroughly when a file has changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import coco_layout, imagenet_layout, labelled_stage, voc_layout
from benchmarks.cache import read_cached, write_cached
from benchmarks.dataset_files import Finding, Sample, StageData
from benchmarks.digest import dataset_digest
from benchmarks.errors import DataError
from benchmarks.pixel_layouts import pixel_layout
from benchmarks.schema import Benchmark

CHECKS_VERSION = 3
"""Counts up when a check changes, so that data checked by the old one is checked again."""

SHOWN_FILES = 10


@dataclass(frozen=True, kw_only=True)
class ValidatedData:
    """digest: of what is left, see `dataset_digest`; warnings: one sentence each.

    left_out: what is wrong with each unusable image or its annotation, by the image's path.
    read_on: the day on which every file was read in full (`trickle validate`), if that was done;
    duplicates: how many test images it then found among the training images, by their pixels.
    """

    digest: str
    warnings: tuple[str, ...]
    left_out: Mapping[str, str]
    read_on: str | None
    duplicates: int = 0


def validate(benchmark: Benchmark, *, tolerate: int = 0) -> dict[str, ValidatedData]:
    """Check the data of every stage of `benchmark`; by stage.

    Always: every folder and every list is there. When a file's size or modification time has
    changed since the last start: images are whole (end markers, without decoding them), boxes lie
    inside their images, classes are the benchmark's, masks fit their images.

    tolerate: how many unusable images may be left out, in all stages together. Raises DataError
    saying which folder was looked for, or which files cannot be used.
    """
    found = {stage: _validate_stage(benchmark, stage, tolerate) for stage in benchmark.stages}
    refuse_more_than(
        tolerate, benchmark.name, {stage: data.left_out for stage, data in found.items()}
    )
    return found


def stage_data(benchmark: Benchmark, stage: str) -> StageData:
    """What the stage's layout lists. Raises DataError for a missing folder or list."""
    if stage == "pretraining" and benchmark.pretraining is not None:
        return imagenet_layout.stage_data(benchmark.pretraining.root)
    if stage == "detection" and benchmark.detection is not None:
        boxes = benchmark.detection
        splits = (*boxes.train, boxes.test)
        if boxes.layout == "coco":
            return coco_layout.stage_data(boxes.root, splits, boxes.classes)
        return voc_layout.stage_data(boxes.root, splits, boxes.classes)
    if stage == "segmentation" and benchmark.segmentation is not None:
        pixels = benchmark.segmentation
        return pixel_layout(pixels.layout).stage_data(pixels.root, pixels.classes)
    if stage == "finetune" and benchmark.finetune is not None:
        return labelled_stage.stage_data(benchmark.finetune)
    raise ValueError(f"benchmark {benchmark.name} has no stage {stage!r}")


def inspect_all(data: StageData, problems: dict[str, str]) -> Iterator[tuple[Sample, Finding]]:
    """Check every sample without decoding its image; those that are usable, one after another.

    problems: what is wrong, by image; is added to. Who is in it already is not usable.
    """
    for sample in data.files.samples:
        try:
            finding = data.inspect(sample)
        except DataError as error:
            problems[sample.image] = str(error)
        else:
            if sample.image not in problems:
                yield sample, finding


def conclude(
    data: StageData, usable: Iterable[tuple[Sample, Finding]], problems: Mapping[str, str]
) -> tuple[str, ...]:
    """Warnings about what is usable.

    problems: all of them once `usable` has come to its end. Raises DataError where too little is
    usable: no image or object of a split, or none of a class where files are left out.
    """
    present: set[str] = set()

    def noted() -> Iterator[tuple[Sample, Finding]]:
        for sample, finding in usable:
            present.update(finding.counts)
            yield sample, finding

    try:
        warnings = data.conclude(noted())
        if problems and (lost := [name for name in data.classes if name not in present]):
            raise DataError(f"no usable image of {', '.join(lost)} is left in {data.files.root}")
    except DataError as error:
        # Where there is nothing else wrong, that is the news; else the files are.
        if not problems:
            raise
        raise DataError(f"{error}\n{listed(problems)}") from error
    return warnings


def refuse_more_than(
    tolerate: int, benchmark: str, problems: Mapping[str, Mapping[str, str]]
) -> None:
    """DataError naming the files unless there are at most `tolerate`; problems: by stage."""
    total = sum(len(files) for files in problems.values())
    if total <= tolerate:
        return
    stages = [stage for stage, files in problems.items() if files]
    every = {image: text for files in problems.values() for image, text in files.items()}
    what = f"{' and '.join(stages)} data of benchmark {benchmark}: "
    if total > 1:
        allowed = f", {tolerate} are tolerated" if tolerate else ""
        what += f"{total} files cannot be used{allowed}:\n"
    raise DataError(
        f"{what}{listed(every)}\n"
        f"Repair them or take them out of the data; or leave them out by --tolerate {total}"
    )


def listed(problems: Mapping[str, str]) -> str:
    """The first ten problems, a line each, and how many more there are."""
    lines = list(problems.values())[:SHOWN_FILES]
    if len(problems) > SHOWN_FILES:
        lines.append(f"and {len(problems) - SHOWN_FILES} more")
    return "\n".join(lines)


def checks_key(stage: str, data: StageData) -> str:
    """Under which the cache keeps what was found in these files."""
    return json.dumps([CHECKS_VERSION, stage, str(data.files.root), data.question])


def remember(
    key: str,
    data: StageData,
    *,
    fingerprint: str,
    problems: Mapping[str, str],
    warnings: Sequence[str],
    undecodable: Sequence[str] = (),
    read_on: str | None = None,
    duplicates: int = 0,
) -> tuple[dict[str, Any], bool]:
    """Keep what was found for later starts; gives it, and whether it could be kept.

    undecodable: those of `problems` that only decoding shows; read_on and duplicates: as in
    ValidatedData.
    """
    known = {
        "fingerprint": fingerprint,
        "digest": dataset_digest(data.files.without(problems)),
        "warnings": list(warnings),
        "left_out": dict(problems),
        "undecodable": list(undecodable),
        "read_on": read_on,
        "duplicates": duplicates,
    }
    return known, write_cached("checks", key, known)


def _validate_stage(benchmark: Benchmark, stage: str, tolerate: int) -> ValidatedData:
    try:
        data = stage_data(benchmark, stage)
        key = checks_key(stage, data)
        fingerprint = data.files.fingerprint()
        known = read_cached("checks", key)
        if known is not None and known.get("fingerprint") != fingerprint:
            known = None
        # What refuses is looked at again: it may have been repaired without a trace.
        if known is None or len(known["left_out"]) > tolerate:
            undecodable = [] if known is None else known["undecodable"]
            problems = {image: known["left_out"][image] for image in undecodable} if known else {}
            try:
                warnings = conclude(data, inspect_all(data, problems), problems)
            except DataError:
                if len(problems) <= tolerate:
                    raise
            if len(problems) > tolerate:
                return ValidatedData(digest="", warnings=(), left_out=problems, read_on=None)
            known, _ = remember(
                key,
                data,
                fingerprint=fingerprint,
                problems=problems,
                warnings=warnings,
                undecodable=undecodable,
                read_on=None if known is None else known["read_on"],
                duplicates=0 if known is None else known["duplicates"],
            )
    except DataError as error:
        raise DataError(f"{stage} data of benchmark {benchmark.name}: {error}") from error
    return ValidatedData(
        digest=known["digest"],
        warnings=tuple(known["warnings"]),
        left_out=known["left_out"],
        read_on=known["read_on"],
        duplicates=known["duplicates"],
    )
