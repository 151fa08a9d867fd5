"""What a run costs: seconds and memory. (What a network costs: backbones.cost.)"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@contextmanager
def stopwatch(cost: dict[str, float], name: str = "seconds") -> Iterator[None]:
    """Adds the wall-clock seconds of the block to cost[name]."""
    started = time.monotonic()
    try:
        yield
    finally:
        cost[name] = cost.get(name, 0.0) + time.monotonic() - started
