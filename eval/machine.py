"""The machine as a run finds it: cores, memory, limits. Reads /proc and /sys; imports nothing."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from benchmarks.schema import Benchmark
from eval.findings import Fact, Finding, Section, amount

LEAST_MEMORY_BYTES = 2 * 2**30
LEAST_OPEN_FILES = 512
SHARED_MEMORY = Path("/dev/shm")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
_PREFETCHED = 2  # batches for each worker: torch's DataLoader
_LARGEST_BATCH = 1024  # of the recipes, before a benchmark scales it
_NO_LIMIT = 1 << 60


def check_machine() -> Section:
    """Cores and memory, as the kernel and the container's limits leave them."""
    memory = _meminfo()
    total, free = memory.get("MemTotal"), memory.get("MemAvailable")
    limit, cores, usable = memory_limit(), os.cpu_count() or 1, usable_cores()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    facts: dict[str, Fact | list[str]] = {
        "cpu": cpu_name(),
        "cores": cores,
        "usable_cores": usable,
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
    if usable < cores and "OMP_NUM_THREADS" not in os.environ:
        findings.append(
            Finding(
                what=f"this process may use {usable:g} of the {cores} cores that it sees",
                fix=f"set OMP_NUM_THREADS={max(1, int(usable))}, so that threads do not wait for "
                "each other",
                level="note",
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
    needs = {"pretraining": _batches(benchmark.pretraining.workers, _pretraining_batch(benchmark))}
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


def _pretraining_batch(benchmark: Benchmark) -> int:
    budget = benchmark.pretraining
    return round(_LARGEST_BATCH * budget.batch_size_scale) * budget.image_size**2 * 3


def _gigabytes(count: int) -> int:
    return max(1, -(-count * 2 // 2**30))


def cpu_name() -> str:
    """As the kernel names it."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def half_instructions() -> list[str]:
    """The processor's instructions for half precision, which decide what `half` means here."""
    wanted = {"avx512_bf16", "amx_bf16", "avx512_fp16", "amx_fp16"}
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("flags"):
            return sorted(wanted.intersection(line.split()))
    return []


def usable_cores() -> float:
    """What affinity and the container's quota leave."""
    return min(float(len(os.sched_getaffinity(0))), _quota())


def memory_limit() -> int | None:
    """The tightest limit of the containers around us in bytes, or None."""
    texts = [*_cgroup("memory", "memory.max"), *_cgroup("memory", "memory.limit_in_bytes")]
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < _NO_LIMIT]
    return min(limits, default=None)


def _quota() -> float:
    """Cores by the tightest quota; infinity without one."""
    pairs = [text.split() for text in _cgroup("cpu", "cpu.max")]  # version 2: quota and period
    quotas, periods = _cgroup("cpu", "cpu.cfs_quota_us"), _cgroup("cpu", "cpu.cfs_period_us")
    pairs += [list(pair) for pair in zip(quotas, periods, strict=False)]
    numbers = [pair for pair in pairs if len(pair) == 2 and all(map(str.isdecimal, pair))]
    return min((int(quota) / int(period) for quota, period in numbers), default=float("inf"))


def _cgroup(controller: str, name: str) -> list[str]:
    """A limit's values of our group and of those that it lies in; version 2 and 1 of cgroups."""
    found = []
    for line in _lines(OWN_CGROUPS):
        _, controllers, place = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        group = CGROUPS / controllers / place.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(CGROUPS):
                found += _lines(folder / name)[:1]
    return found


def _meminfo() -> dict[str, int]:
    """Bytes by name."""
    amounts = {}
    for line in _lines("/proc/meminfo"):
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdecimal():
            amounts[name] = int(number[0]) * 1024
    return amounts


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
