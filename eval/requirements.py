"""What a plan needs beside time: disk, memory, GPUs; said by the dry run, without torch."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.schema import Benchmark
from engine.machine_limits import memory_limit, memory_of_machine
from eval.expected_time import UNKNOWN, Forecast
from eval.findings import amount
from eval.gpu_hours import ASSUMED, FoundGpus, found_gpus, gpu_hours
from eval.jobs import TRANSFERS, Job
from eval.machine import shared_memory_need
from eval.needed_memory import StepNeed, step_need
from eval.plan import Plan
from eval.show import training_images

COUNTING_SECONDS = 0.15
"""For each folder of data: to look at every file of ImageNet takes seconds."""
_KEPT = 2  # engine/checkpoints.py, which imports torch
_PROCESS = 0.63e9
"""Bytes of a process that has imported torch; measured by bench/growth.py."""
_SHRUNK = 0.35
"""Bytes for each pixel of a shrunk copy, measured on photographs."""
_TESTED = {
    "paper": {"classification": 50_000, "detection": 4952, "segmentation": 2000},
    "coco": {"classification": 50_000, "detection": 5000},
    "cityscapes": {"classification": 50_000, "segmentation": 500},
}
_FOUND = 100 * 28
"""Bytes of the detections of an image in the evidence, at most."""
_LONG_HOURS = 24


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """size: bytes; None where there are too many files to be counted now, or no folder."""

    stage: str
    root: Path
    size: int | None


def needs_in_words(
    plan: Plan, benchmark: Benchmark, forecast: Forecast, out: Path, gpus: FoundGpus | None = None
) -> list[str]:
    """Lines for a person; none where nothing is to do. gpus: by default those of this machine."""
    if not plan.todo:
        return []
    gpus = found_gpus() if gpus is None else gpus
    steps = {job.id: step_need(job, benchmark) for job in plan.todo}
    return [
        "Needs, computed from sizes:",
        *_hours(plan.todo, benchmark, forecast, gpus),
        *_disk(plan.todo, benchmark, steps, out, forecast.slots),
        *_memory(plan.todo, benchmark, steps, gpus),
    ]


def _disk(
    todo: Sequence[Job],
    benchmark: Benchmark,
    steps: dict[str, StepNeed | None],
    out: Path,
    slots: int,
) -> list[str]:
    from backbones import sizes

    width = benchmark.backbone.width
    artifacts = checkpoints = evidence = 0
    passing = []
    for job in todo:
        made = _classifiers(job) if job.kind == "finetune" else int(job.makes_artifact)
        artifacts += 4 * made * (sizes.parameters(job.spec.architecture, width) or 0)
        if (step := steps[job.id]) is not None:
            # All that is fixed but the gradients.
            size = _KEPT * (step.fixed - 4 * step.parameters)
            if job.kind == "finetune":
                passing.append(size)
            else:
                checkpoints += size
        evidence += _evidence(job, benchmark)
    checkpoints += sum(sorted(passing)[-slots:])  # those of a fold go when it is finished
    if all(sizes.parameters(job.spec.architecture, width) is None for job in todo):
        free = shutil.disk_usage(_existing(out)).free
        return [f"  disk, below {out}: unknown, of other architectures; {amount(free)} free"]
    whole = artifacts + checkpoints + evidence
    free = shutil.disk_usage(_existing(out)).free
    unknown = sum(sizes.parameters(job.spec.architecture, width) is None for job in todo)
    left = f"; {unknown} jobs of other architectures not counted" if unknown else ""
    until = ", those of fine-tuned folds until they are done" if passing else ""
    lines = [
        f"  disk, below {out}: {amount(whole)} (checkpoints {amount(checkpoints)}, {_KEPT} of each "
        f"training{until}; artifacts {amount(artifacts)}; evidence at most {amount(evidence)}"
        f"{left}); {amount(free)} free"
    ]
    if whole > free:
        lines.append(f"  TOO LITTLE DISK: {amount(whole - free)} more are needed below {out}")
    read = {"pretraining" if job.kind == "classification" else job.kind for job in todo}
    for data in data_sizes(benchmark):
        if data.stage not in read:
            continue
        said = "not counted" if data.size is None else amount(data.size)
        lines.append(f"  data read, {data.stage}: {said} in {data.root}")
    budget = benchmark.pretraining
    shrunk = budget is not None and budget.shrink_to
    images = training_images(benchmark) if shrunk else None
    if budget is not None and images is not None:
        copies = images * _SHRUNK * budget.shrink_to**2 * 4 / 3
        lines.append(f"  disk, in the cache: {amount(round(copies))} of shrunk images, made once")
    return lines


def _classifiers(job: Job) -> int:
    """How many a fine-tuning leaves in its work folder: one for each fold, and with pseudo-labels
    one for each of its rounds, of which the first is without them."""
    recipe, division = job.protocol["recipe"], job.protocol["division"]
    pseudo = recipe["tricks"].get("pseudo_labels")
    rounds = 0 if pseudo is None else 1 + int(pseudo["rounds"])
    return int(division.get("folds", 1)) * (1 + rounds)


def data_sizes(benchmark: Benchmark) -> list[DataSize]:
    """By stage; of rendered data nothing, which the cache holds."""
    if benchmark.world is not None:
        return []
    found = []
    for stage in benchmark.stages:
        root: Path = getattr(benchmark, stage).root
        if root.exists():  # beside a CSV file may lie anything
            size = _bytes_below(root) if root.is_dir() else None
            found.append(DataSize(stage=stage, root=root, size=size))
    return found


def _bytes_below(folder: Path) -> int | None:
    total, deadline = 0, time.monotonic() + COUNTING_SECONDS
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_size
            except OSError:
                continue
            if time.monotonic() > deadline:
                return None
    return total


def _evidence(job: Job, benchmark: Benchmark) -> int:
    """Bytes; 0 where the number of test images is not known."""
    if benchmark.world is not None:
        of_world = {
            "classification": benchmark.world.pretraining.test,
            "detection": benchmark.world.detection.test,
            "segmentation": benchmark.world.segmentation.test,
        }
        images = of_world.get(job.kind, 0)
    else:
        images = _TESTED.get(benchmark.name, {}).get(job.kind, 0)
    if job.kind == "segmentation" and benchmark.segmentation is not None:
        classes = len(benchmark.segmentation.classes)
        return images * 5 * 4 * classes + 8 * classes**2
    return images * (_FOUND if job.kind == "detection" else 20)


def _memory(
    todo: Sequence[Job],
    benchmark: Benchmark,
    steps: dict[str, StepNeed | None],
    gpus: FoundGpus,
) -> list[str]:
    lines = []
    known = [(job, step) for job in todo if (step := steps[job.id]) is not None]
    for kind in ("classification", *TRANSFERS):
        of_kind = [(step.whole, job, step) for job, step in known if job.kind == kind]
        if not of_kind:
            continue
        whole, job, step = max(of_kind, key=lambda found: found[0])
        name = "pretraining" if kind == "classification" else kind
        lines.append(
            f"  memory, {name}: {amount(whole)} (most: {job.spec.name}, {step.images:,} images at "
            f"once, {amount(step.image)} each); what does not fit: --auto-accumulate"
        )
    place = f"the GPU ({', '.join(gpus.models)})" if gpus.models else "the host, without a GPU"
    if lines:
        lines.append(f"  memory is that of {place}; of several processes each needs its share")
    workers = max(getattr(benchmark, stage).workers for stage in benchmark.stages)
    batches, _ = shared_memory_need(benchmark)
    host = round(_PROCESS * (1 + workers)) + batches
    most = max((step.whole for _, step in known), default=0)
    limits = [memory_limit(), memory_of_machine().get("MemAvailable")]
    free = min((limit for limit in limits if limit is not None), default=None)
    has = "" if free is None else f"; {amount(free)} available here"
    lines.append(
        f"  host memory beside it: at most {amount(host)} (a process, {workers} "
        f"worker{'s' * (workers != 1)}, {amount(batches)} of batches ready){has}"
    )
    if not gpus.models and free is not None and most + host > free:
        short = f"{amount(most + host)} are needed at once, {amount(free)} are available"
        lines.append(f"  DOES NOT FIT THIS MACHINE: {short}")
    return lines


def _hours(
    todo: Sequence[Job], benchmark: Benchmark, forecast: Forecast, gpus: FoundGpus
) -> list[str]:
    """What is assumed of GPUs: for what was not measured; without one, for what needs one."""
    unmeasured = [job for job in todo if forecast.by_job[job.id].basis == UNKNOWN]
    if not gpus.models:
        if forecast.one_after_the_other < _LONG_HOURS * 3600:
            return []
        unmeasured = list(todo)
    gpu = gpus.known or ASSUMED
    hours = [found for job in unmeasured if (found := gpu_hours(job, benchmark, gpu)) is not None]
    if not hours:
        return []
    if gpus.known is not None:
        whose = f"one {gpus.models[0]}"
    else:
        why = f"{gpus.models[0]} is not known" if gpus.models else "this machine has no GPU"
        whose = f"one {gpu.name} ({why})"
    jobs = f"{len(hours)} job{'s' * (len(hours) != 1)}"
    return [
        f"  GPU-hours, assumed, not measured: {sum(hours):,.0f} for {jobs} on {whose}; "
        "docs/performance.md has the assumptions"
    ]


def _existing(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
