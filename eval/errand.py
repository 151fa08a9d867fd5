"""A job's process on another machine: what is sent there, and what is done with it there."""

from __future__ import annotations

import os
import platform
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from benchmarks.packaged import PACKAGED
from benchmarks.schema import FOLDER_VARIABLE
from engine.agreement import sources_digest
from engine.fast_paths import VARIABLE as REFERENCE_VARIABLE
from engine.locks import LOCKS_VARIABLE, Lock
from eval.jobs import Job
from eval.layout import Layout
from eval.process import Ended, Stopped, run_process

SAME_EVERYWHERE = [LOCKS_VARIABLE, REFERENCE_VARIABLE]
"""Variables of the environment that a job gets as they are here."""

_OF_THE_MACHINE = ("TRICKLE_DATA", "TRICKLE_CACHE")
"""Where the data lie; what another machine says of itself there counts more."""

_POLL_SECONDS = 0.2
_LIBRARIES = ("torch", "torchvision", "timm", "mmengine", "mmdet", "mmsegmentation")


class OtherSoftware(ValueError):
    """A machine does not run what we run; the message names it, and both."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One job's process; plain data.

    arguments: of the Python interpreter there. lock: held while the process lives, wherever that
    is, so that who sends the same errand once more waits for its end. cores: that it may use.
    software: as `software()` gives it here.
    """

    job: str
    arguments: tuple[str, ...]
    log: Path
    lock: Path
    cores: float
    environment: dict[str, str]
    software: dict[str, str]


def errand_of(job: Job, layout: Layout, *, cores: float, software: dict[str, str]) -> Errand:
    names = (*SAME_EVERYWHERE, *_OF_THE_MACHINE)
    return Errand(
        job=job.id,
        arguments=job.command[1:],
        log=layout.logs / f"{job.id}.log",
        lock=layout.locks / f"{job.id}.process.lock",
        cores=cores,
        environment={
            **{name: os.environ[name] for name in names if name in os.environ},
            **_benchmark_folder(job),
        },
        software=software,
    )


def _benchmark_folder(job: Job) -> dict[str, str]:
    """What its benchmark's roots are relative to, where a copy of the file is read."""
    given = dict(zip(job.command, job.command[1:], strict=False)).get("--benchmark")
    if given is None or given in PACKAGED:
        return {}
    return {FOLDER_VARIABLE: str(Path(given).parent)}


def software() -> dict[str, str]:
    """What decides about a number: our sources, and the versions of the libraries, of which those
    for one kind of processor or another are the same."""
    from backbones.provenance import version

    found = {"Trickle's sources": sources_digest(), "Python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[library] = version(library).partition("+")[0]
    return found


def require_same_software(expected: dict[str, str], sender: str = "the driver") -> None:
    """OtherSoftware where this machine does not run the same."""
    here = software()
    differing = [name for name in expected if expected[name] != here.get(name)]
    if differing:
        told = "; ".join(
            f"{name}: {here.get(name, 'not installed')} there, {expected[name]} with {sender}"
            for name in differing
        )
        raise OtherSoftware(
            f"node {socket.gethostname()} does not run what {sender} runs ({told}): install the "
            "same on every node"
        )


def run_errand(errand: Errand, stop: threading.Event | None = None) -> Ended:
    """Runs the process on this machine, once no earlier one of the same job is left.

    Raises OSError where it cannot be started, and Stopped once `stop` is set and it is gone.
    """
    stop = stop or threading.Event()
    for name, value in errand.environment.items():
        if name in _OF_THE_MACHINE:
            os.environ.setdefault(name, value)
        else:
            os.environ[name] = value
    lock = Lock(errand.lock, inherited=True)
    try:
        while not lock.acquire():
            if stop.wait(_POLL_SECONDS):
                raise Stopped
        ended = run_process(
            (sys.executable, *errand.arguments),
            log=errand.log,
            stop=stop,
            lock=lock,
            cores=errand.cores,
            alone=False,
        )
    finally:
        lock.release()
    return replace(ended, host=socket.gethostname())
