"""Records: written once, read whole, and every file that is none is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.results import Metric
from eval.records import Record, read_record, read_records, write_record

Make = Callable[..., Record]


def test_a_record_comes_back_as_it_was_written(tmp_path: Path, make_record: Make) -> None:
    record = make_record(
        tricks=("mixup",),
        per_class={"mAP": {"melon": 40.0, "leaf": None}},
        cost={"seconds": 70.0},
        weights_sha256="0" * 64,
        environment={"finished": "2026-01-02T03:04:05.000+00:00"},
    )
    write_record(tmp_path / "records", record)
    read = read_records(tmp_path / "records")
    assert read.by_key == {record.key: record}
    assert read.bad == ()


def test_the_file_has_the_fields_of_the_contract(tmp_path: Path, make_record: Make) -> None:
    write_record(tmp_path, make_record())
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_text())
    fields = "schema key backbone task benchmark protocol seed status metrics per_class cost"
    assert {*fields.split(), "environment"} <= set(content)
    assert content["schema"] == 1
    assert set(content["metrics"]["mAP"]) == {"value", "unit", "n", "higher_is_better"}


@pytest.mark.reliability(
    4, "A byte of a record that changes is refused by its checksum, and the file is named."
)
def test_a_flipped_byte_is_refused(
    tmp_path: Path, make_record: Make, measured: Callable[[str], None]
) -> None:
    record = make_record(
        tricks=("mixup", "größe"),
        per_class={"mAP": {"melon": 40.25, "leaf": None}},
        cost={"seconds": 70.5, "tiny": 1e-9},
        notes=("as measured",),
    )
    write_record(tmp_path, record)
    (path,) = tmp_path.glob("*.json")
    data = path.read_bytes()
    refused = equal = 0
    for place in range(len(data)):
        for bit in {1 << place % 8, 0x20}:
            damaged = bytearray(data)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            read = read_records(tmp_path)
            if read.bad:
                assert [entry.path for entry in read.bad] == [path]
                refused += 1
            else:  # 1E-09 for 1e-09, or another kind of space
                assert read.by_key == {record.key: record}
                equal += 1
    assert equal < 0.02 * refused
    measured(f"{refused} flips refused, {equal} that change nothing accepted")
    path.write_bytes(data.replace(b'"checksum"', b'"Checksum"'))
    assert len(read_records(tmp_path).bad) == 1


def test_a_result_never_changes_and_a_failure_is_tried_again(
    tmp_path: Path, make_record: Make
) -> None:
    key = "ab" * 8
    failed = make_record(key=key, status="failed", message="no memory", metrics={})
    write_record(tmp_path, failed)
    assert read_records(tmp_path).final(key) is None
    good = make_record(key=key, metrics={"mAP": 31.0})
    assert write_record(tmp_path, good) == good
    later = make_record(key=key, metrics={"mAP": 99.0})
    assert write_record(tmp_path, later) == good
    assert write_record(tmp_path, failed) == good
    assert read_records(tmp_path).final(key) == good
    assert len(list(tmp_path.iterdir())) == 1


def test_diverged_is_a_result(tmp_path: Path, make_record: Make) -> None:
    record = make_record(status="diverged", message="the loss is nan", metrics={})
    write_record(tmp_path, record)
    assert read_records(tmp_path).final(record.key) == record


def test_a_failure_under_another_spelling_of_the_name_is_replaced(
    tmp_path: Path, make_record: Make
) -> None:
    key = "cd" * 8
    write_record(
        tmp_path, make_record("timm:m@a.pth", key=key, status="failed", message="x", metrics={})
    )
    write_record(tmp_path, make_record("timm:m@./b/a.pth", key=key))
    assert [r.backbone for r in read_records(tmp_path).by_key.values()] == ["timm:m@./b/a.pth"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"null",
        b'{"schema": 2}',
        b'{"schema": 1, "key": "../../../../etc"}',
    ],
    ids=["empty", "cut", "binary", "deep", "null", "future", "evil"],
)
def test_hostile_files_are_named_and_left_out(
    tmp_path: Path, make_record: Make, content: bytes
) -> None:
    good = make_record()
    write_record(tmp_path, good)
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    read = read_records(tmp_path)
    assert read.by_key == {good.key: good}
    assert [entry.path for entry in read.bad] == [bad]
    assert read.bad[0].reason


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"seed": -1},
        {"metrics": {}},
        {"unknown": 1},
        {"metrics": {"mAP": {"value": 131.0, "unit": "percent", "n": 1}}},
        {"cost": {"seconds": "long"}},
        {"status": "failed", "message": None},
    ],
    ids=["status", "seed", "no metrics", "extra", "percent", "cost", "no reason"],
)
def test_a_record_that_breaks_the_schema_is_refused(
    tmp_path: Path, make_record: Make, change: dict[str, object]
) -> None:
    record = make_record()
    content = json.loads(record.model_dump_json()) | change
    (tmp_path / record.file_name).write_text(json.dumps(content))
    assert len(read_records(tmp_path).bad) == 1


def test_what_is_no_regular_file_cannot_hang_the_reading(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert len(read_records(tmp_path).bad) == 3


def test_a_file_under_the_name_of_another_key_is_refused(tmp_path: Path, make_record: Make) -> None:
    record = make_record()
    write_record(tmp_path, record)
    moved = tmp_path / "resnet50d_mixup_detection_s0_ffffffffffffffff.json"
    (tmp_path / record.file_name).rename(moved)
    with pytest.raises(ValueError, match=record.key):
        read_record(moved)


def test_no_folder_means_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none").by_key == {}


def test_nan_never_reaches_a_record(make_record: Make) -> None:
    assert make_record(metrics={"mAP": float("nan")}).metrics == {"mAP": Metric(value=None, n=100)}
    with pytest.raises(ValueError, match="finite"):
        make_record(cost={"seconds": float("inf")})
