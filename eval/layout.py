"""Where things lie under OUT."""

from __future__ import annotations

import errno
import os
import tempfile
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
    def evidence(self) -> Path:
        """What tasks saw image by image, each file named by its sha256; see `engine.evidence`."""
        return self.root / "evidence"

    @property
    def work(self) -> Path:
        """Checkpoints, logs and results of the stages, one folder for each job."""
        return self.root / "work"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Those without which there is no run."""
        return (self.records, self.evidence, self.artifacts, self.work, self.locks)

    @property
    def logs(self) -> Path:
        """What each job said on its standard error."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        """One for each job that is at work, whichever run it belongs to."""
        return self.root / "locks"

    @property
    def left_out(self) -> Path:
        """Names the images that are left out, where there are any."""
        return self.root / "left_out.txt"

    @property
    def tables(self) -> tuple[Path, ...]:
        """And the page of them."""
        kinds = ("md", "csv", "json", "tex")
        return (*(self.root / f"table.{kind}" for kind in kinds), self.page)

    @property
    def page(self) -> Path:
        return self.root / "report.html"


_REFUSALS = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


def out_of_place(layout: Layout) -> list[tuple[Path, str]]:
    """Files where folders belong, and folders where files do, and which they have to be."""
    wrong = [(p, "a folder") for p in layout.folders if os.path.lexists(p) and not p.is_dir()]
    wrong += [(p, "a file") for p in (*layout.tables, layout.left_out) if p.is_dir()]
    return wrong


def make_writable(root: Path) -> None:
    """Makes OUT where it is not there yet. Raises ValueError where nothing can be written there,
    OSError for what is no matter of the choice of OUT, such as a full disk."""
    layout = Layout(root)
    with _refused(f"--out {root} cannot be made: "):
        root.mkdir(parents=True, exist_ok=True)
    with _refused(f"--out {root}: nothing can be written there (", ")"):
        for path, what in out_of_place(layout):
            raise ValueError(f"{path} has to be {what}, and is none: move or delete it")
        for folder in (root, *layout.folders):
            if folder.is_dir():
                with tempfile.TemporaryFile(dir=folder):
                    pass


def require_makable(root: Path) -> None:
    """That OUT is there, or could be made: a folder beside it is, and is gone again. Raises as
    `make_writable`."""
    there = next(path for path in (root, *root.parents) if os.path.exists(path))
    if there != root:
        with _refused(f"--out {root} cannot be made: "), tempfile.TemporaryDirectory(dir=there):
            pass


@contextmanager
def _refused(before: str, after: str = "") -> Iterator[None]:
    """Lets ValueError say why the system refused, between these words, where OUT is to blame."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise ValueError(f"{before}{error.strerror}{after}; give another --out") from error
