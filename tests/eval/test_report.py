"""`trickle report`: shown first, then written; where it cannot be written it says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eval.cli import main
from eval.records import Record, write_record

Make = Callable[..., Record]


def test_a_table_that_cannot_be_written_is_shown(
    tmp_path: Path, make_record: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "records", make_record(metrics={"mAP": 33.3}))
    (tmp_path / "table.md").mkdir()
    assert main(["report", "--out", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert "| resnet50d_mixup | – | 33.3 |" in out
    assert f"error: the table is shown, but not written to {tmp_path}: Is a directory" in err
    assert "give another folder as --out" in err


def test_one_record_that_is_left_out(
    tmp_path: Path, make_record: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    old = {"finished": "2026-01-02T03:04:05.000+00:00"}
    new = {"finished": "2026-01-03T03:04:05.000+00:00"}
    write_record(tmp_path / "records", make_record(protocol={"data": "a"}, environment=old))
    write_record(tmp_path / "records", make_record(protocol={"data": "b"}, environment=new))
    assert main(["report", "--out", str(tmp_path)]) == 0
    said = "left out: 1 record of detection (resnet50d_mixup): another protocol, "
    (line,) = [x for x in capfd.readouterr().out.splitlines() if x.startswith(said)]
    assert line.endswith("): data: a -> b")
