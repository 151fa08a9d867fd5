"""Where things lie under OUT, and that only one run at a time works there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The folders of one OUT; root is absolute."""

    root: Path

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def work(self) -> Path:
        """Checkpoints, logs and results of the stages, one folder for each job."""
        return self.root / "work"

    @property
    def logs(self) -> Path:
        """What each job said on its standard error."""
        return self.root / "logs"


@contextmanager
def locked(root: Path) -> Iterator[int]:
    """Holds OUT for one run; yields the lock's descriptor, which the jobs inherit.

    So OUT stays locked while a job of a killed run is still at work in it. Raises ValueError where
    another run holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise ValueError(
                f"another run (started by process {holder}) is at work in {root}; "
                "wait for it, end it, or give another --out"
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
