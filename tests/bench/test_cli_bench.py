"""A run with nothing to do is timed only where nothing is to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli


def test_a_folder_counts_as_finished_when_a_run_into_it_would_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for the stages and the data."""
    out = tmp_path / "out"
    command = (cli.FAKE_RUN, "--backbone", "resnet50d_mixup", "--out", str(out))
    monkeypatch.setattr(cli, "again", lambda _: command)
    monkeypatch.setenv("PYTHONPATH", f"{cli.ROOT}:{cli.ROOT / 'tests' / 'eval'}")
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls.txt"))
    assert not cli.is_finished(out)
    out.mkdir()
    assert not cli.is_finished(out)
    subprocess.run([sys.executable, *command], capture_output=True, check=True)
    assert cli.is_finished(out)


def test_a_folder_that_is_not_finished_is_refused_before_anything_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--finished", str(tmp_path / "none")])
    assert "jobs are to do there: `make run` first" in capsys.readouterr().err
