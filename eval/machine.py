"""The machine as a run finds it: cores, memory, limits. No torch is imported."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from benchmarks.schema import Benchmark, ScaledBudget
from engine.machine_limits import cpu_name, memory_limit, memory_of_machine, usable_cores
from eval.findings import Fact, Finding, Section, amount

LEAST_MEMORY_BYTES = 2 * 2**30
LEAST_OPEN_FILES = 512
SHARED_MEMORY = Path("/dev/shm")
_PREFETCHED = 2  # batches for each worker: torch's DataLoader
# Of the recipes, before a benchmark scales it:
_LARGEST_BATCH = 1024
_FINE_TUNING_BATCH = 32


def check_machine() -> Section:
    """Cores and memory, as the kernel and the container's limits leave them."""
    memory = memory_of_machine()
    total, free = memory.get("MemTotal"), memory.get("MemAvailable")
    limit = memory_limit()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    facts: dict[str, Fact | list[str]] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "memory_bytes": total,
        "memory_available_bytes": free,
        "memory_limit_bytes": limit,
        "open_files": "no limit" if files < 0 else files,
        "load_average": round(os.getloadavg()[0], 2),
    }
    findings = []
    least = min((value for value in (free, limit) if value is not None), default=None)
    if least is not None and least < LEAST_MEMORY_BYTES:
        findings.append(
            Finding(
                what=f"{amount(least)} of memory are left for runs",
                fix=f"end what else runs here, or allow at least {amount(LEAST_MEMORY_BYTES)}",
            )
        )
    if 0 <= files < LEAST_OPEN_FILES:  # -1: no limit
        findings.append(
            Finding(
                what=f"a process may open {files} files, too few for data workers",
                fix=f"ulimit -n {LEAST_OPEN_FILES * 8}, in the shell that starts the run",
            )
        )
    return Section(title="machine", facts=facts, findings=tuple(findings))


def check_shared_memory(benchmark: Benchmark, folder: Path = SHARED_MEMORY) -> Section:
    """Whether the batches that data workers hold ready fit into shared memory."""
    need, stage = shared_memory_need(benchmark)
    facts: dict[str, Fact | list[str]] = {"folder": str(folder)}
    finding = None
    if folder.is_dir():
        usage = shutil.disk_usage(folder)
        facts |= {"size_bytes": usage.total, "free_bytes": usage.free}
        if usage.free < need:
            finding = Finding(
                what=f"{folder} has {amount(usage.free)} free of {amount(usage.total)}, and the "
                f"data workers of {benchmark.name}, {stage}, may hold {amount(need)}",
                fix=f"start the container with more (docker run --shm-size={_gigabytes(need)}g), "
                f"or lower {stage}.workers in the benchmark's file",
            )
    elif need:
        finding = Finding(
            what=f"there is no {folder}, which the data workers of {benchmark.name} need",
            fix=f"mount it, or set {stage}.workers = 0 in the benchmark's file",
        )
    facts[f"needed_for_{benchmark.name}_bytes"] = need
    findings = () if finding is None else (finding,)
    return Section(title="shared memory", facts=facts, findings=findings)


def shared_memory_need(benchmark: Benchmark) -> tuple[int, str]:
    """Bytes of the batches in flight of the stage that has most, and that stage.

    workers x prefetched batches x images x pixels x 3 bytes; 11 where a mask of int64 goes with
    each image. Of one job; views of a larger size (Inception-V3) take more.
    """
    needs = {}
    if (photos := benchmark.pretraining) is not None:
        needs["pretraining"] = _batches(photos.workers, _scaled_batch(photos, _LARGEST_BATCH))
    if (own := benchmark.finetune) is not None:
        needs["finetune"] = _batches(own.workers, _scaled_batch(own, _FINE_TUNING_BATCH))
    if (voc := benchmark.detection) is not None:
        width, height = voc.image_size
        needs["detection"] = _batches(voc.workers, voc.batch_size * width * height * 3)
    if (ade := benchmark.segmentation) is not None:
        width, height = ade.crop_size
        needs["segmentation"] = _batches(ade.workers, ade.batch_size * width * height * 11)
    stage = max(needs, key=lambda name: needs[name])
    return needs[stage], stage


def _batches(workers: int, batch_bytes: int) -> int:
    return workers * _PREFETCHED * batch_bytes


def _scaled_batch(budget: ScaledBudget, images: int) -> int:
    return round(images * budget.batch_size_scale) * budget.image_size**2 * 3


def _gigabytes(count: int) -> int:
    return max(1, -(-count * 2 // 2**30))
