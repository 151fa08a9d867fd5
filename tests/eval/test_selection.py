"""A report takes from all records those that may stand beside each other."""

from __future__ import annotations

from collections.abc import Callable

from eval.records import Record
from eval.selection import select_comparable

Make = Callable[..., Record]


def at(minute: int) -> dict[str, str]:
    return {"finished": f"2026-01-01T00:{minute:02d}:00.000+00:00"}


def test_rows_stand_above_their_control_in_the_order_they_were_made(make_record: Make) -> None:
    records = [
        make_record("scratch:resnet50d", environment=at(3)),
        make_record("resnet50d_mixup", environment=at(1)),
        make_record("resnet50d_cosine", environment=at(4)),
        make_record("resnet50d_cosine", task="segmentation", environment=at(5)),
    ]
    selection = select_comparable(records)
    assert [row.backbone for row in selection.rows] == [
        "resnet50d_mixup",
        "resnet50d_cosine",
        "scratch:resnet50d",
    ]
    assert selection.tasks == ("detection", "segmentation")
    assert selection.seeds == (0,)
    assert selection.left_out == ()


def test_another_protocol_is_another_question(make_record: Make) -> None:
    old = {"budget": {"iterations": 100}}
    records = [
        make_record("resnet50d_mixup", protocol=old, environment=at(1)),
        make_record("scratch:resnet50d", protocol=old, environment=at(2)),
        make_record("resnet50d_mixup", environment=at(3)),
    ]
    selection = select_comparable(records)
    assert selection.kept == (records[2],)
    assert selection.left_out == tuple(records[:2])


def test_other_weights_of_the_same_name_are_not_averaged(make_record: Make) -> None:
    records = [
        make_record(seed=0, lineage="a" * 16, environment=at(1)),
        make_record(seed=1, lineage="a" * 16, environment=at(2)),
        make_record(seed=0, lineage="b" * 16, environment=at(3)),
    ]
    selection = select_comparable(records)
    assert selection.kept == (records[2],)
    assert selection.seeds == (0,)


def test_a_mere_teacher_makes_no_row(make_record: Make) -> None:
    teacher = make_record("resnet152d_smooth", task="classification", metrics={"top1": 60.0})
    student = make_record("resnet50d_distill")
    selection = select_comparable([teacher, student])
    assert [row.backbone for row in selection.rows] == ["resnet50d_distill"]
    assert select_comparable([teacher]).kept == (teacher,)


def test_no_records_make_no_rows() -> None:
    assert select_comparable([]).rows == ()
