"""What a job saw is kept, with little room and on every disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.evidence import FILE_NAME, Evidence, read_evidence
from eval.kept_evidence import keep_evidence
from eval.layout import Layout


def kept(tmp_path: Path) -> Path:
    """Where the evidence of a job lies after it was kept."""
    seen = Evidence(task="probes", classes=("cat",), images=("0",), arrays={"n": np.ones(1)})
    (tmp_path / "work").mkdir()
    record: Any = SimpleNamespace(evidence_sha256=seen.write(tmp_path / "work" / FILE_NAME))
    job: Any = SimpleNamespace(result=tmp_path / "work" / "result.json")
    keep_evidence(job, record, Layout(tmp_path))
    (path,) = (tmp_path / "evidence").iterdir()
    assert read_evidence(path, sha256=record.evidence_sha256).images == ("0",)
    return path


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_has_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.kept_evidence.write_bytes_atomic", full)
    kept(tmp_path)


def test_it_stays_when_the_job_is_done_again(tmp_path: Path) -> None:
    path = kept(tmp_path)
    before = path.read_bytes()
    other = Evidence(task="probes", classes=("dog",), images=("1",), arrays={"n": np.ones(2)})
    other.write(tmp_path / "work" / FILE_NAME)
    assert path.read_bytes() == before


def test_a_disk_without_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", refused)
    assert not kept(tmp_path).samefile(tmp_path / "work" / FILE_NAME)
