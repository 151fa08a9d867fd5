"""What this process may use of the machine: cores and memory, the container's limits included.

Reads /proc and /sys; no torch is imported.
"""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60
_HALF_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "avx512_fp16", "amx_fp16"}


def usable_cores() -> float:
    """What affinity and the container's quota leave."""
    return min(float(len(os.sched_getaffinity(0))), _quota())


def memory_limit() -> int | None:
    """The tightest limit of the containers around us in bytes, or None."""
    return min((limit for limit, _ in _memory()), default=None)


def memory_left() -> int | None:
    """Bytes that the containers around us still give, or None where none of them has a limit."""
    return min((limit - used for limit, used in _memory()), default=None)


def memory_of_machine() -> dict[str, int]:
    """/proc/meminfo: bytes by name."""
    amounts = {}
    for line in read_lines("/proc/meminfo"):
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdecimal():
            amounts[name] = int(number[0]) * 1024
    return amounts


def cpu_name() -> str:
    """As the kernel names it."""
    return _cpu_fact("model name") or os.uname().machine


def half_instructions() -> list[str]:
    """The processor's instructions for half precision, without which it is not even tried."""
    return sorted(_HALF_INSTRUCTIONS.intersection(_cpu_fact("flags").split()))


def read_lines(path: str | Path) -> list[str]:
    """Of a file that may not be there: none then."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _cpu_fact(name: str) -> str:
    for line in read_lines("/proc/cpuinfo"):
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def _quota() -> float:
    """Cores by the tightest quota; infinity without one."""
    pairs = [text.split() for [text] in _cgroups("cpu", "cpu.max")]  # version 2: quota and period
    pairs += _cgroups("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    numbers = [pair for pair in pairs if len(pair) == 2 and all(map(str.isdecimal, pair))]
    return min((int(quota) / int(period) for quota, period in numbers), default=float("inf"))


def _memory() -> list[tuple[int, int]]:
    """Limit and use of each group that has a limit."""
    texts = [
        *_cgroups("memory", "memory.max", "memory.current"),
        *_cgroups("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ]
    return [
        (int(limit), int(used) if used.isdecimal() else 0)
        for limit, used in texts
        if limit.isdecimal() and int(limit) < _NO_LIMIT
    ]


def _cgroups(controller: str, *names: str) -> list[list[str]]:
    """What these files say, of our group and of those that it lies in; versions 2 and 1 of cgroups.

    Only groups that have the first; "" for another that one has not.
    """
    found = []
    for line in read_lines(OWN_CGROUPS):
        _, controllers, place = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        group = CGROUPS / controllers / place.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(CGROUPS):
                texts = [next(iter(read_lines(folder / name)), "") for name in names]
                if texts[0]:
                    found.append(texts)
    return found
