"""What every stage's process does around its work: threads, noise, errors, the environment."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

_USER_ERRORS = (ValueError, FileNotFoundError, PermissionError)


def environment() -> dict[str, str]:
    """Machine and versions, for the record."""
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "accelerator": accelerator,
        **{name: version(name) for name in ("torch", "torchvision", "mmengine", "numpy")},
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def run_stage(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> int:
    """Runs a stage's main: 0 when it returns, 2 with one line for a user's mistake, 130 for Ctrl-C.

    Anything else is a defect and keeps its traceback.
    """
    # Threads that spin while they wait make each other ten times slower on busy cores. Read by
    # OpenMP when torch is imported, which no module above this line does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        main(argv)
    except _USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
