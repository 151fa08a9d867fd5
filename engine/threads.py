"""How many threads a process has, chosen once and for all its libraries, before they are imported.

A thread that waits sleeps: threads that spin hold a core which a busy neighbour needs, and each
step then waits ten times as long for the last of them. There are as many threads as this process
may use cores, of the container's quota too. Images are decoded and resized by one thread, beside
data workers by one each (torch gives its workers one thread of arithmetic). The libraries read all
this from the environment when they are imported, which no module above this line does; so it
reaches all processes that this one starts. What the user has set stays.
"""

from __future__ import annotations

import os
from math import inf

from engine.machine_limits import usable_cores

CORES_VARIABLE = "TRICKLE_CORES"
"""Cores that a job may use, where several jobs share the machine; set by who starts them."""


def job_cores() -> float:
    """Cores that this process may count on: its share of the machine, and of the job's where
    torchrun started several processes here."""
    return min(_number(CORES_VARIABLE, inf), usable_cores()) / _number("LOCAL_WORLD_SIZE", 1.0)


def _number(variable: str, default: float) -> float:
    """Of the environment; the default where there is no positive one."""
    try:
        value = float(os.environ[variable])
    except (KeyError, ValueError):
        return default
    return value if value > 0 else default


def choose_threads() -> None:
    """Sets the variables that the libraries read, where they are not set."""
    for name, value in variables(job_cores()).items():
        os.environ.setdefault(name, value)


def variables(cores: float) -> dict[str, str]:
    """For a process that may use so many cores: what OpenMP, rayon (hotcoco) and OpenCV read."""
    threads = str(max(1, int(cores)))
    return {
        "OMP_NUM_THREADS": threads,
        "RAYON_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",  # of gcc's OpenMP: no spinning at all
        "OPENCV_FOR_THREADS_NUM": "1",
    }


def threads_in_words() -> str:
    """The choice, for a log."""
    chosen = " ".join(f"{name}={os.environ.get(name, '')}" for name in variables(1))
    return f"threads: {chosen}, for {job_cores():g} of {os.cpu_count()} cores"
