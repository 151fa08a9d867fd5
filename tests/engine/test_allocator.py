"""Memory that a step frees is there for the next one."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from engine.allocator import keep_freed_memory
if sys.argv[2] == "kept":
    assert keep_freed_memory()
for _ in range(3):
    np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**23)  # 64 MiB, more than glibc keeps by itself
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's mallopt")
def test_pages_are_made_once() -> None:
    """Each new page is a fault that the kernel counts."""

    def faults(how: str) -> int:
        command = [sys.executable, "-c", _FAULTS, str(ROOT), how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < 0.1 * faults("given back")
