"""Whatever lies among the records: the report comes, and says what it left out and why."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.cli import main
from eval.records import Record, read_records, write_record
from eval.selection import select_comparable
from eval.summary import make_table

Make = Callable[..., Record]
Capture = pytest.CaptureFixture[str]


def damaged(folder: Path, record: Record, **changes: Any) -> Path:
    """The record's file, without a checksum and with other content."""
    write_record(folder, record)
    path = folder / record.file_name
    content = json.loads(path.read_text()) | changes
    content.pop("checksum")
    path.write_text(json.dumps(content))
    return path


def report(out: Path, capture: Capture) -> tuple[str, str, dict[str, Any], str]:
    assert main(["report", "--out", str(out)]) == 0
    said = capture.readouterr()
    return (
        said.out,
        said.err,
        json.loads((out / "table.json").read_text()),
        (out / "table.md").read_text(),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "schema 2, this Trickle reads 1: update Trickle"),
        ({"schema": "x"}, "schema x, this Trickle reads 1"),
        ({"schema": None}, "it says no schema; this Trickle reads 1"),
        ({"task": "panoptic"}, "task panoptic, this Trickle knows classification, detection, "),
        ({"mood": 1, "hat": 2}, "fields that this Trickle does not know (mood, hat)"),
        ({"metrics": {"mAP": {"value": 1.0, "n": "many"}}}, "metrics.mAP.n: "),
        ({"seed": "one"}, "seed: "),
    ],
    ids=["newer", "odd", "none", "task", "fields", "n", "seed"],
)
def test_what_is_wrong_with_a_file_stands_on_the_screen_and_below_the_table(
    tmp_path: Path, make_record: Make, capfd: Capture, changes: dict[str, Any], said: str
) -> None:
    write_record(tmp_path / "records", make_record())
    path = damaged(tmp_path / "records", make_record(seed=1), **changes)
    _, err, table, markdown = report(tmp_path, capfd)
    assert table["seeds"] == [0]
    (line,) = err.splitlines()
    assert str(path) in line
    assert said in line
    plain = markdown.replace("\\", "")
    assert f"- Left out: {path}: not a record: " in plain
    assert said in plain


def test_a_file_that_was_cut_off_or_is_huge(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    folder = tmp_path / "records"
    write_record(folder, make_record())
    for seed, size in ((1, 300), (2, 17 * 2**20)):
        path = damaged(folder, make_record(seed=seed))
        with path.open("r+b") as file:
            file.truncate(size)
    _, err, table, _ = report(tmp_path, capfd)
    assert table["seeds"] == [0]
    cut, huge = err.splitlines()
    assert "it is not JSON" in cut
    assert "are too many for a record" in huge


def test_a_metric_that_is_missing_is_a_dash(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    write_record(tmp_path / "records", make_record(metrics={"AP50": 12.0}))
    write_record(tmp_path / "records", make_record("scratch:resnet50d", metrics={"mAP": None}))
    out, _, table, _ = report(tmp_path, capfd)
    assert [row["metrics"]["mAP"] for row in table["rows"]] == [None, None]
    assert "| resnet50d_mixup | – | – | – |" in out


def test_fewer_seeds_than_the_others_says_so_and_diverged_is_in_no_mean(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    for seed, value in ((0, 20.0), (1, 22.0), (2, 24.0)):
        control = make_record("scratch:resnet50d", seed=seed, metrics={"mAP": value})
        write_record(tmp_path / "records", control)
    for seed, value in ((0, 30.0), (1, 31.0)):
        write_record(tmp_path / "records", make_record(seed=seed, metrics={"mAP": value}))
    gone = make_record(seed=2, status="diverged", metrics={"mAP": 99.0})
    write_record(tmp_path / "records", gone)
    out, _, table, _ = report(tmp_path, capfd)
    score = table["rows"][0]["metrics"]["mAP"]
    assert (score["mean"], score["n"], score["delta"]) == (30.5, 2, 9.5)
    assert "(2 of 3 seeds, 1 diverged)" in out
    assert "resnet50d_mixup, detection, seed 2: diverged" in out


def test_zero_variance_one_row_one_seed(tmp_path: Path, make_record: Make, capfd: Capture) -> None:
    write_record(tmp_path / "records", make_record(metrics={"mAP": 0.0}))
    _, _, table, _ = report(tmp_path, capfd)
    assert table["rows"][0]["metrics"]["mAP"]["ci95"] is None
    for seed in (1, 2):
        write_record(tmp_path / "records", make_record(seed=seed, metrics={"mAP": 0.0}))
    for seed in (0, 1, 2):
        control = make_record("scratch:resnet50d", seed=seed, metrics={"mAP": 0.0})
        write_record(tmp_path / "records", control)
    _, _, table, _ = report(tmp_path, capfd)
    score = table["rows"][0]["metrics"]["mAP"]
    assert (score["mean"], score["std"], score["ci95"], score["delta"]) == (0.0, 0.0, [0.0, 0.0], 0)


def test_a_thousand_bad_files_do_not_bury_the_table(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    write_record(tmp_path / "records", make_record())
    for number in range(1000):
        (tmp_path / "records" / f"{number}.json").write_text("{")
    _, err, _, markdown = report(tmp_path, capfd)
    assert len(err.splitlines()) < 30
    assert "left out, not a record: 980 more files" in err
    assert markdown.count("Left out: ") <= 21
    assert "Left out: 980 more." in markdown


def test_nothing_but_bad_files_is_wrong_usage(tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text("{}")
    assert main(["report", "--out", str(tmp_path)]) == 2
    err = capfd.readouterr().err
    assert "it says no schema" in err
    assert "no records in" in err


def test_the_command_itself(tmp_path: Path, make_record: Make) -> None:
    write_record(tmp_path / "records", make_record())
    damaged(tmp_path / "records", make_record(seed=1), schema=2)
    command = "import sys; from eval.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "report", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "schema 2, this Trickle reads 1" in done.stderr
    assert "| resnet50d_mixup |" in done.stdout
    assert "Traceback" not in done.stderr


def test_five_hundred_records_are_read_and_tabulated_in_seconds(
    tmp_path: Path, make_record: Make
) -> None:
    per_class = {"mAP": {f"class {number}": float(number) for number in range(20)}}
    for number in range(500):
        record = make_record(f"resnet50d_r{number % 50}", seed=number // 50, per_class=per_class)
        # Not by write_record, which forces each file to the disk.
        (tmp_path / record.file_name).write_text(record.model_dump_json())
    began = time.process_time()
    selection = select_comparable(read_records(tmp_path).by_key.values())
    table = make_table(
        selection.kept,
        benchmark="mini",
        rows=selection.rows,
        seeds=selection.seeds,
        tasks=selection.tasks,
    )
    assert time.process_time() - began < 3
    assert len(table.rows) == 50
    score = table.rows[0].metrics["mAP"]
    assert score is not None
    assert score.value.n == 10


@pytest.mark.slow
def test_a_thousand_rows(tmp_path: Path, make_record: Make, capfd: Capture) -> None:
    (tmp_path / "records").mkdir()
    first = make_record()
    for number in range(1000):
        names = {"backbone": f"resnet50d_r{number}", "key": f"{number:016x}"}
        record = first.model_copy(update=names)
        (tmp_path / "records" / record.file_name).write_text(record.model_dump_json())
    _, _, table, markdown = report(tmp_path, capfd)
    assert len(table["rows"]) == 1000
    assert "resnet50d_r999" in markdown
