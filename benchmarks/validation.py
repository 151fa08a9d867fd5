"""The data of one stage, checked: cheaply at every start, thoroughly when a file has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import ade20k_layout, imagenet_layout, voc_layout
from benchmarks.cache import read_cached, write_cached
from benchmarks.dataset_files import DatasetFiles
from benchmarks.digest import dataset_digest
from benchmarks.errors import DataError
from benchmarks.schema import Benchmark

CHECKS_VERSION = 1
"""Counts up when a check changes, so that data checked by the old one is checked again."""


@dataclass(frozen=True, kw_only=True)
class ValidatedData:
    """digest: see `dataset_digest`; warnings: what was tolerated, one sentence each."""

    digest: str
    warnings: tuple[str, ...]


def validate_stage(benchmark: Benchmark, stage: str) -> ValidatedData:
    """Check the data of `stage` and give its digest.

    Always: every folder and every listed file exists. When a file's size or modification time has
    changed since the last start: images are whole (end markers, without decoding them), boxes lie
    inside their images, classes are the benchmark's, masks fit their images.

    Raises DataError saying which folder was looked for, or which file is wrong.
    """
    try:
        files, check, question = _layout(benchmark, stage)
        key = json.dumps([CHECKS_VERSION, stage, str(files.root), question])
        fingerprint = files.fingerprint()
        known = read_cached("checks", key)
        if known is None or known.get("fingerprint") != fingerprint:
            warnings = check()
            known = {
                "fingerprint": fingerprint,
                "digest": dataset_digest(files),
                "warnings": list(warnings),
            }
            write_cached("checks", key, known)
    except DataError as error:
        raise DataError(f"{stage} data of benchmark {benchmark.name}: {error}") from error
    return ValidatedData(digest=known["digest"], warnings=tuple(known["warnings"]))


def _layout(
    benchmark: Benchmark, stage: str
) -> tuple[DatasetFiles, Callable[[], tuple[str, ...]], list[object]]:
    """The stage's files, their thorough check, and what else its outcome depends on."""
    if stage == "pretraining":
        files = imagenet_layout.list_files(benchmark.pretraining.root)
        return files, partial(imagenet_layout.check_files, files), []
    if stage == "detection" and benchmark.detection is not None:
        voc = benchmark.detection
        splits = (*voc.train, voc.test)
        return (
            voc_layout.list_files(voc.root, splits),
            partial(voc_layout.check_files, voc.root, splits, voc.classes),
            [splits, voc.classes],
        )
    if stage == "segmentation" and benchmark.segmentation is not None:
        ade = benchmark.segmentation
        return (
            ade20k_layout.list_files(ade.root),
            partial(ade20k_layout.check_files, ade.root, len(ade.classes)),
            [len(ade.classes)],
        )
    raise ValueError(f"benchmark {benchmark.name} has no stage {stage!r}")
