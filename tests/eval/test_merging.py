"""`trickle report DIR1 DIR2 --out DIR`: several people's records in one table, untouched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evidence import Evidence
from eval.cli import main
from eval.kept_evidence import EvidenceReader
from eval.layout import Layout
from eval.records import Record, read_records, write_record

Make = Callable[..., Record]
Capture = pytest.CaptureFixture[str]


def at(minute: int) -> dict[str, str]:
    return {"finished": f"2026-01-01T00:{minute:02d}:00.000+00:00"}


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two OUTs, and where the report goes."""
    return tmp_path / "ann", tmp_path / "bob", tmp_path / "both"


def merge(*folders: Path, capture: Capture) -> tuple[str, str, dict[str, Any], str]:
    """Screen, errors, table.json and table.md."""
    *sources, out = map(str, folders)
    assert main(["report", *sources, "--out", out]) == 0
    said = capture.readouterr()
    table = json.loads((folders[-1] / "table.json").read_text())
    return said.out, said.err, table, (folders[-1] / "table.md").read_text()


def content(*folders: Path) -> dict[Path, bytes]:
    found = (path for folder in folders for path in folder.rglob("*"))
    return {path: path.read_bytes() for path in found if path.is_file()}


def test_seeds_of_two_people_make_one_mean(
    people: tuple[Path, Path, Path], make_record: Make, capfd: Capture
) -> None:
    ann, bob, both = people
    write_record(ann / "records", make_record(seed=0, metrics={"mAP": 30.0}))
    write_record(ann / "records", make_record("scratch:resnet50d", seed=0, metrics={"mAP": 20.0}))
    write_record(bob / "records", make_record(seed=1, metrics={"mAP": 33.0}))
    write_record(bob / "records", make_record("scratch:resnet50d", seed=1, metrics={"mAP": 21.0}))
    before = content(ann, bob)
    out, err, table, _ = merge(ann, bob, both, capture=capfd)
    score = table["rows"][0]["metrics"]["mAP"]
    assert (score["mean"], score["n"], score["delta"]) == (31.5, 2, 11.0)
    assert "left out" not in out + err
    assert content(ann, bob) == before
    page = (both / "report.html").read_text().replace("<wbr>", "")  # where a line may break
    assert page.index(str(ann)) < page.index(str(bob))
    assert {path.name for path in both.iterdir()} >= {"table.md", "table.csv", "table.json"}


def test_the_same_result_twice_counts_once_and_is_said(
    people: tuple[Path, Path, Path], make_record: Make, capfd: Capture
) -> None:
    record = make_record(metrics={"mAP": 30.0}, environment=at(1), cost={"seconds": 5.0})
    again = record.model_copy(update={"environment": at(2), "cost": {"seconds": 9.0}})
    write_record(people[0] / "records", record)
    write_record(people[1] / "records", again)
    out, _, table, markdown = merge(*people, capture=capfd)
    assert table["rows"][0]["metrics"]["mAP"]["n"] == 1
    said = f"1 record in {people[1] / 'records'}: the same cells and results as others taken"
    assert said in out
    assert said in markdown


@pytest.mark.parametrize("first", [0, 1], ids=["ann's is older", "bob's is older"])
def test_of_two_results_the_first_finished_is_taken_and_both_are_named(
    people: tuple[Path, Path, Path], make_record: Make, capfd: Capture, first: int
) -> None:
    key = "ab" * 8
    records = [
        make_record(key=key, metrics={"mAP": 31.25}, environment=at(5 if first else 1)),
        make_record(key=key, metrics={"mAP": 32.5}, environment=at(3)),
    ]
    for folder, record in zip(people, records, strict=False):
        write_record(folder / "records", record)
    out, _, table, _ = merge(*people, capture=capfd)
    taken, other = (("31.25", "32.5"), ("32.5", "31.25"))[first]
    assert table["rows"][0]["metrics"]["mAP"]["mean"] == float(taken)
    (line,) = [line for line in out.splitlines() if line.startswith("left out")]
    assert "cannot both be right" in line
    assert f"mAP {taken} and {other}" in line
    assert all(str(folder / "records" / records[0].file_name) in line for folder in people[:2])


def test_a_failure_gives_way_to_a_result_without_a_word(
    people: tuple[Path, Path, Path], make_record: Make, capfd: Capture
) -> None:
    key = "ab" * 8
    failed = make_record(
        key=key, status="failed", message="no memory", metrics={}, environment=at(1)
    )
    write_record(people[0] / "records", failed)
    write_record(people[1] / "records", make_record(key=key, environment=at(2)))
    out, _, table, _ = merge(*people, capture=capfd)
    assert table["rows"][0]["metrics"]["mAP"]["mean"] == 30.0
    assert "left out" not in out


def test_diverged_and_ok_are_two_results(tmp_path: Path, make_record: Make) -> None:
    key = "ab" * 8
    for name, record in (
        ("a", make_record(key=key, status="diverged", metrics={}, environment=at(1))),
        ("b", make_record(key=key, environment=at(2))),
    ):
        write_record(tmp_path / name, record)
    (pair,) = read_records(tmp_path / "a", tmp_path / "b").repeated
    assert pair.record.status == "diverged"
    assert pair.difference == "diverged and ok, mAP none and 30"


def test_one_directory_is_read_and_written(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    write_record(tmp_path / "a" / "records", make_record())
    assert main(["report", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "table.json").is_file()
    before = content(tmp_path / "a")
    assert main(["report", str(tmp_path / "a"), "--out", str(tmp_path / "b")]) == 0
    assert content(tmp_path / "a") == before
    assert (tmp_path / "b" / "table.json").read_bytes() == before[tmp_path / "a" / "table.json"]


def test_the_same_directory_twice_is_one(
    people: tuple[Path, Path, Path], make_record: Make, capfd: Capture
) -> None:
    write_record(people[0] / "records", make_record())
    out, _, _, _ = merge(people[0], people[0] / "records" / "..", people[2], capture=capfd)
    assert "left out" not in out


def test_wrong_directories_are_told_before_anything_is_written(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    for name in "ab":
        write_record(tmp_path / name / "records", make_record())
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    for arguments, said in (
        ([a, b], "2 directories are read and stay as they are: give --out DIR"),
        ([a, b, "--out", b], "is one of the directories that are read"),
        ([a, str(tmp_path / "none"), "--out", "c"], "none: no folder of records is in it"),
    ):
        assert main(["report", *arguments]) == 2
        assert said in capfd.readouterr().err
    assert not [path for path in content(tmp_path) if path.parent.name != "records"]


def test_records_of_another_benchmark_are_counted(
    people: tuple[Path, Path, Path], make_record: Make, capfd: Capture
) -> None:
    write_record(people[0] / "records", make_record())
    write_record(people[1] / "records", make_record(benchmark="paper"))
    arguments = ["report", *map(str, people[:2]), "--out", str(people[2])]
    assert main(arguments) == 2
    assert "choose one by --benchmark" in capfd.readouterr().err
    assert main([*arguments, "--benchmark", "mini"]) == 0
    assert "left out: 1 record of benchmark paper" in capfd.readouterr().out


def test_what_a_task_saw_is_read_from_whichever_directory_has_it_whole(
    people: tuple[Path, Path, Path], make_record: Make
) -> None:
    ann, bob, _ = people
    saw = Evidence(
        task="detection", classes=("a",), images=("i",), arrays={"size": np.array([[4, 6]])}
    )
    for folder in (ann, bob):
        (folder / "evidence").mkdir(parents=True)
    sha256 = saw.write(bob / "evidence" / "made")
    name = f"{sha256}.safetensors"
    (bob / "evidence" / "made").rename(bob / "evidence" / name)
    record = make_record(evidence_sha256=sha256)
    told: list[str] = []
    read = EvidenceReader([Layout(ann), Layout(bob)], told.append)

    def size() -> list[list[int]] | None:
        found = read(record)
        return None if found is None else found.arrays["size"].tolist()

    assert size() == [[4, 6]]
    assert told == []
    (ann / "evidence" / name).write_bytes(b"damaged")
    assert size() == [[4, 6]]
    assert len(told) == 1
    assert str(ann / "evidence" / name) in told[0]
    assert EvidenceReader([Layout(ann)], told.append)(record) is None
    assert EvidenceReader([], told.append)(record) is None


def test_a_second_copy_in_one_directory_is_no_second_seed(
    tmp_path: Path, make_record: Make, capfd: Capture
) -> None:
    record = make_record(metrics={"mAP": 30.0})
    write_record(tmp_path / "records", record)
    path = tmp_path / "records" / record.file_name
    path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    assert main(["report", str(tmp_path)]) == 0
    assert f"left out: 1 record in {path.parent}: the same cells" in capfd.readouterr().out
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["rows"][0]["metrics"]["mAP"]["n"] == 1
