"""A report takes from all records those that may stand beside each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eval.omissions import of_selection
from eval.protocol_difference import differences
from eval.records import Record
from eval.selection import Selection, select_comparable

Make = Callable[..., Record]


def at(minute: int) -> dict[str, str]:
    return {"finished": f"2026-01-01T00:{minute:02d}:00.000+00:00"}


def test_rows_stand_above_their_control_the_plainest_first(make_record: Make) -> None:
    records = [
        make_record("scratch:resnet50d", environment=at(3)),
        make_record("resnet50d_smooth", environment=at(0), tricks=("label_smoothing",)),
        make_record("resnet50d_mixup", environment=at(1)),
        make_record("resnet50d_cosine", environment=at(4)),
        make_record("resnet50d_cosine", task="segmentation", environment=at(5)),
    ]
    selection = select_comparable(records)
    assert [row.backbone for row in selection.rows] == [
        "resnet50d_mixup",
        "resnet50d_cosine",
        "resnet50d_smooth",
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


def pretraining(
    backbone: str, minute: int, *, lineage: str = "a" * 16, **protocol: object
) -> dict[str, Any]:
    """Arguments of a record."""
    whole = {"architecture": backbone, "recipe": {"epochs": 120}, "data": "i", **protocol}
    return {
        "backbone": backbone,
        "task": "classification",
        "metrics": {"top1": 70.0},
        "protocol": whole,
        "lineage": lineage,
        "environment": at(minute),
    }


def test_what_differs_between_two_protocols_is_named(make_record: Make) -> None:
    old = {
        "data": "d",
        "budget": {"image_size": [96, 96], "iterations": 100},
        "versions": {"torch": "2.0"},
        "precision": "bfloat16",  # how a machine came to do it is no other question
    }
    records = [
        make_record("resnet50d_mixup", protocol=old, environment=at(1)),
        make_record("resnet50d_cosine", protocol=old, environment=at(2)),
        make_record("resnet50d_mixup", environment=at(3)),
    ]
    selection = select_comparable(records)
    (group,) = selection.groups
    assert (group.reason, group.records) == ("protocol", tuple(records[:2]))
    assert group.differences == (
        "budget.image_size: 96x96 -> 128x128",
        "budget.iterations: 100 -> none",
        "versions.torch: 2.0 -> none",
    )
    (omission,) = of_selection(selection)
    assert omission.what == "2 records of detection (resnet50d_mixup, resnet50d_cosine)"
    assert "budget.image_size: 96x96 -> 128x128; budget.iterations" in omission.why


def test_values_that_read_alike_are_told_apart() -> None:
    long = "a" * 60
    theirs = {"budget": {"most": None, "size": 1, "names": [long, "b"]}}
    ours = {"budget": {"size": "1", "names": [long, "c"]}}
    assert differences(theirs, ours) == (
        "budget.most: null -> not recorded",
        f'budget.names: ["{long}", "b"] -> ["{long}", "c"]',
        'budget.size: 1 -> "1"',
    )


def test_what_learns_from_unlabelled_images_stands_beside_what_does_not(make_record: Make) -> None:
    def tuned(name: str, minute: int, **unlabelled: str) -> Record:
        protocol = {"data": "d", "recipe": {"tricks": {name: {}}}, **unlabelled}
        return make_record(
            f"net~{name}",
            task="finetune",
            metrics={"tuned_top1": 70.0},
            protocol=protocol,
            environment=at(minute),
        )

    def names(selection: Selection) -> set[str]:
        return {record.backbone for record in selection.kept}

    plain, pseudo = tuned("plain", 1), tuned("plain+pseudo_labels", 2, unlabelled="u")
    for records in ([plain, pseudo], [tuned("plain", 3), pseudo]):
        assert names(select_comparable(records)) == {"net~plain", "net~plain+pseudo_labels"}
    other = tuned("finetune+pseudo_labels", 4, unlabelled="v")
    selection = select_comparable([plain, pseudo, other])
    assert names(selection) == {"net~plain", "net~finetune+pseudo_labels"}
    assert selection.groups[0].differences == ("unlabelled: u -> v",)
    asked = select_comparable([plain, pseudo, other], [selection.groups[0].digest[:8]])
    assert names(asked) == {"net~plain", "net~plain+pseudo_labels"}
    failed = other.model_copy(update={"status": "failed", "message": "x", "metrics": {}})
    kept = names(select_comparable([plain, pseudo, failed]))
    assert kept == {"net~plain", "net~plain+pseudo_labels"}


def test_another_protocol_can_be_chosen_by_the_digest_that_was_named(make_record: Make) -> None:
    old = make_record(protocol={"data": "old"}, environment=at(1))
    new = make_record(protocol={"data": "new"}, environment=at(2))
    digest = select_comparable([old, new]).groups[0].digest
    chosen = select_comparable([old, new], [digest[:8]])
    assert chosen.kept == (old,)
    assert chosen.groups[0].records == (new,)
    for wrong in ("ffff", digest[:3], ""):
        with pytest.raises(ValueError, match="--protocol"):
            select_comparable([old, new], [wrong])
    other = chosen.groups[0].digest
    with pytest.raises(ValueError, match="second protocol of detection"):
        select_comparable([old, new], [digest, other])


def test_a_protocol_that_only_failed_takes_no_result_away(make_record: Make) -> None:
    result = make_record(protocol={"data": "old"}, environment=at(1))
    failed = make_record(
        protocol={"data": "new"}, status="failed", message="x", metrics={}, environment=at(2)
    )
    assert select_comparable([result, failed]).kept == (result,)
    assert select_comparable([failed]).kept == (failed,)


def test_measurements_and_pretrainings_that_came_later_take_no_detection_away(
    make_record: Make,
) -> None:
    """Each task has its protocol, and the weights are those that were fine-tuned last."""
    detection = make_record(environment=at(1))
    probes = make_record(
        task="probes", metrics={"knn": 40.0}, protocol={"k": 20}, environment=at(2)
    )
    speed = make_record(task="speed", metrics={"x": 1.0}, protocol={}, environment=at(3))
    assert select_comparable([detection, probes, speed]).kept == (detection, probes, speed)
    elsewhere = [
        make_record(
            task="probes",
            metrics={"knn": 50.0},
            protocol={"k": 20},
            lineage="b" * 16,
            environment=at(4),
        ),
        make_record(**pretraining("resnet50d_mixup", 5, lineage="b" * 16)),
    ]
    selection = select_comparable([detection, probes, speed, *elsewhere])
    assert selection.kept == (detection, probes, speed)
    (group,) = selection.groups
    assert (group.reason, group.records) == ("weights", tuple(elsewhere))


def test_rows_that_were_pretrained_under_other_conditions_are_not_compared(
    make_record: Make,
) -> None:
    """Architecture and recipe are what a table compares; the budget of pretraining is not."""
    old = [
        make_record(**pretraining("resnet50d_mixup", 1, budget={"epoch_scale": 0.02})),
        make_record("resnet50d_mixup", environment=at(2)),
    ]
    new = [
        make_record(
            **pretraining("resnet50d_cosine", 3, lineage="b" * 16, budget={"epoch_scale": 0.05})
        ),
        make_record("resnet50d_cosine", lineage="b" * 16, environment=at(4)),
        make_record("timm:resnet18", lineage="c" * 16, environment=at(5)),
    ]
    selection = select_comparable([*old, *new])
    assert selection.kept == tuple(new)
    (group,) = selection.groups
    assert (group.reason, group.records) == ("pretraining", tuple(old))
    assert group.differences == ("budget.epoch_scale: 0.02 -> 0.05",)
    assert select_comparable([*old, *new], [group.digest]).kept == (*old, new[2])


def test_other_weights_of_a_name_say_how_they_were_trained(make_record: Make) -> None:
    first = [
        make_record(**pretraining("resnet50d_mixup", 1, budget={"epoch_scale": 0.02})),
        make_record("resnet50d_mixup", environment=at(2)),
    ]
    second = [
        make_record(
            **pretraining("resnet50d_mixup", 3, lineage="b" * 16, budget={"epoch_scale": 0.05})
        ),
        make_record("resnet50d_mixup", lineage="b" * 16, environment=at(4)),
    ]
    selection = select_comparable([*first, *second])
    assert selection.kept == tuple(second)
    (omission,) = of_selection(selection)
    assert "other weights of that name" in omission.why
    assert "budget.epoch_scale: 0.02 -> 0.05" in omission.why


def test_protocols_that_no_record_has_together_are_refused(make_record: Make) -> None:
    records = [
        make_record(**pretraining("resnet50d_mixup", 1, data="x")),
        make_record("resnet50d_mixup", protocol={"data": "old"}, environment=at(2)),
        make_record(**pretraining("resnet50d_cosine", 3, lineage="b" * 16, data="y")),
        make_record("resnet50d_cosine", lineage="b" * 16, environment=at(4)),
    ]
    (protocol,) = [g.digest for g in select_comparable(records).groups if g.reason == "protocol"]
    (other,) = select_comparable([records[0], records[2]]).groups  # the pretrainings alone
    trained = other.instead
    with pytest.raises(ValueError, match="none of its records fits the other protocols"):
        select_comparable(records, [protocol, trained])


def test_a_row_is_not_compared_with_a_control_of_another_width(make_record: Make) -> None:
    """The sign of the difference would be that of the width."""

    def tuned(backbone: str, lineage: str, minute: int, value: float, size: float) -> Record:
        cost = {"backbone_parameters": size}
        metrics = {"mAP": value}
        return make_record(
            backbone, lineage=lineage * 16, environment=at(minute), metrics=metrics, cost=cost
        )

    control, wide = "scratch:resnet50d", 23_500_000.0
    narrow_control = tuned(control, "a", 1, 10.0, 1.5e6)
    narrow = make_record(
        **pretraining("resnet50d_mixup", 9, lineage="b" * 16, width=0.25),
    )
    narrow_tuned = tuned("resnet50d_mixup", "b", 10, 20.0, 1.5e6)
    other = make_record(**pretraining("resnet50d_cosine", 2, lineage="c" * 16, width=1.0))
    other_tuned = tuned("resnet50d_cosine", "c", 3, 40.0, wide)
    wide_control = tuned(control, "d", 30, 30.0, wide)  # the newest of all
    selection = select_comparable(
        [narrow_control, narrow, narrow_tuned, other, other_tuned, wide_control]
    )
    assert selection.kept == (narrow_control, narrow, narrow_tuned)
    assert {r.key for r in selection.left_out} == {
        r.key for r in (other, other_tuned, wide_control)
    }
    (line,) = [o.line for o in of_selection(selection) if "width" in o.why and "scratch" in o.what]
    assert "23,500,000 -> 1,500,000" in line
    # A control alone of the wrong width makes no difference at all.
    assert select_comparable([narrow, narrow_tuned, wide_control]).kept == (narrow, narrow_tuned)
    # What says no size is taken, as before.
    unknown = make_record(control, lineage="e" * 16, environment=at(40))
    assert unknown in select_comparable([narrow, narrow_tuned, unknown]).kept


def test_a_measurement_of_one_row_takes_no_pretrained_row_away(make_record: Make) -> None:
    rows = [
        make_record(**pretraining("resnet50d_mixup", 1, lineage="a" * 16)),
        make_record(**pretraining("resnet50d_cosine", 2, lineage="b" * 16)),
    ]
    speed = make_record("resnet50d_cosine", task="speed", lineage="b" * 16, environment=at(3))
    assert select_comparable([*rows, speed]).kept == (*rows, speed)
    tuned = make_record("resnet50d_cosine", lineage="b" * 16, environment=at(4))
    selection = select_comparable([*rows, speed, tuned])
    assert selection.kept == (rows[1], speed, tuned)
    (omission,) = of_selection(selection)
    assert "resnet50d_mixup" in omission.what
    assert "only pretrained" in omission.why
    failed = Record.model_validate(
        {**rows[1].model_dump(), "backbone": "resnet50d_smooth", "key": "f" * 16}
        | {"lineage": "f" * 16, "status": "failed", "message": "ended by signal 15", "metrics": {}}
    )
    found = {o.what: o.why for o in of_selection(select_comparable([*rows, failed, tuned]))}
    assert {why for what, why in found.items() if "smooth" in what} == {
        "failed: ended by signal 15"
    }
    assert any("only pretrained" in why for what, why in found.items() if "mixup" in what)
