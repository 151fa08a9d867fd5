"""What tasks saw, kept beside the records: OUT/evidence/<sha256>.safetensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from backbones.atomic import write_bytes_atomic
from engine.evidence import FILE_NAME, Evidence, read_evidence
from eval.jobs import Job
from eval.layout import Layout
from eval.records import Record


def keep_evidence(job: Job, record: Record, layout: Layout) -> None:
    """Keeps what a job saw, where it says that it left something.

    Raises ValueError where the file is not the one that its result names, OSError where the disk
    refuses.
    """
    if record.evidence_sha256 is None:
        return
    assert job.result is not None, "a job with evidence writes a result"
    kept = evidence_path(layout, record.evidence_sha256)
    if kept.is_file():
        return
    made = job.result.parent / FILE_NAME
    try:
        read_evidence(made, sha256=record.evidence_sha256)
        kept.parent.mkdir(exist_ok=True)
        try:
            os.link(made, kept)  # which a full disk has room for
        except OSError:
            write_bytes_atomic(kept, made.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"the process ended well and left no {FILE_NAME} at {made}") from None


def evidence_path(layout: Layout, sha256: str) -> Path:
    """Where the evidence of that checksum lies, if it is there."""
    return layout.evidence / f"{sha256}.safetensors"


class EvidenceReader:
    """Reads a record's evidence from the first of several OUTs that has it whole.

    tell: is told once of each file that cannot be used, and why.
    """

    def __init__(self, layouts: Sequence[Layout], tell: Callable[[str], None]) -> None:
        self._layouts, self._tell = tuple(layouts), tell
        self._told: set[str] = set()

    def __call__(self, record: Record) -> Evidence | None:
        for path in self._files(record):
            try:
                return read_evidence(path, sha256=record.evidence_sha256)
            except (OSError, ValueError) as error:
                if str(path) not in self._told:
                    self._told.add(str(path))
                    self._tell(str(error))
        return None

    def stamp(self, record: Record) -> str:
        """Changes where the files of a record's evidence come, go or change; reads none of them."""
        found = [path.stat() for path in self._files(record)]
        return " ".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in found)

    def _files(self, record: Record) -> list[Path]:
        if (sha256 := record.evidence_sha256) is None:
            return []
        paths = [evidence_path(layout, sha256) for layout in self._layouts]
        return [path for path in paths if path.is_file()]
