"""Where things lie under OUT."""

from __future__ import annotations

import errno
import tempfile
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

    @property
    def locks(self) -> Path:
        """One for each job that is at work, whichever run it belongs to."""
        return self.root / "locks"


_REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


def make_writable(root: Path) -> None:
    """Makes OUT where it is not there yet. Raises ValueError where nothing can be written there,
    OSError for what is no matter of the choice of OUT, such as a full disk."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise ValueError(
            f"--out {root}: nothing can be written there ({error.strerror}); give another --out"
        ) from error
