"""What tasks saw, kept beside the records: OUT/evidence/<sha256>.safetensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backbones.atomic import write_bytes_atomic
from engine.evidence import FILE_NAME, Evidence, read_evidence
from eval.jobs import Job
from eval.layout import Layout
from eval.records import Record


def keep_evidence(job: Job, record: Record, layout: Layout) -> None:
    """Copies what a job saw, where it says that it left something.

    Raises ValueError where the file is not the one that its result names.
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
        write_bytes_atomic(kept, made.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"the process ended well and left no {FILE_NAME} at {made}") from None


def evidence_path(layout: Layout, sha256: str) -> Path:
    """Where the evidence of that checksum lies, if it is there."""
    return layout.evidence / f"{sha256}.safetensors"


def evidence_reader(
    layouts: list[Layout], tell: Callable[[str], None]
) -> Callable[[Record], Evidence | None]:
    """Reads a record's evidence from the first of several OUTs that has it.

    tell: is told once of each file that cannot be used, and why.
    """
    told: set[str] = set()

    def read(record: Record) -> Evidence | None:
        sha256 = record.evidence_sha256
        if sha256 is None:
            return None
        for layout in layouts:
            path = evidence_path(layout, sha256)
            if not path.is_file():
                continue
            try:
                return read_evidence(path, sha256=sha256)
            except (OSError, ValueError) as error:
                if sha256 not in told:
                    told.add(sha256)
                    tell(str(error))
        return None

    return read
