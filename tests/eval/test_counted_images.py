"""Below a table stands which images the scores of a fine-tuning are of, and no other case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eval.notes import protocol_lines
from eval.records import Record
from eval.selection import select_comparable
from eval.summary import make_table

EVERY_CASE = "of the test images; where there are none, of others"
KFOLD = {"validation": "kfold", "folds": 5}
REPEATED = {"validation": "repeated", "folds": 3, "share": 0.2}
HOLDOUT = {"validation": "holdout", "share": 0.2}


def line(records: list[Record]) -> str:
    found = select_comparable(records)
    table = make_table(
        found.kept, benchmark="mini", rows=found.rows, seeds=found.seeds, tasks=found.tasks
    )
    (said,) = protocol_lines(table, found.kept)
    return said


@pytest.mark.parametrize(
    ("division", "tested", "said"),
    [
        (HOLDOUT, True, "of the test images"),
        (HOLDOUT, False, "of the training images held out for validation"),
        (KFOLD, True, "of the test images, by the mean of the probabilities of 5 folds"),
        (KFOLD, False, "of all training images, each by the one of 5 folds that held it out"),
        (
            REPEATED,
            False,
            "of the training images that 3 hold-outs held out, each by those that did",
        ),
    ],
)
def test_what_was_done_is_said_and_nothing_else(
    make_record: Callable[..., Record], division: dict[str, Any], tested: bool, said: str
) -> None:
    metrics = {"tuned_top1": 70.0} | ({"validation_top1": 72.0} if tested else {})
    protocol = {"metric": EVERY_CASE, "division": division, "data": "0123456789abcdef"}
    done = make_record("net~plain", "finetune", metrics=metrics, protocol=protocol)
    assert line([done]) == f"Fine-tuning: {said}; data 0123456789ab"


@pytest.mark.parametrize(
    ("division", "tested", "said"),
    [
        (KFOLD, True, "of the test images, by the mean of the probabilities of 3 of 5 folds"),
        (
            KFOLD,
            False,
            "of the training images that 3 of 5 folds held out, each by the one that did",
        ),
        (
            REPEATED,
            False,
            "of the training images that 2 of 3 hold-outs held out, each by those that did",
        ),
    ],
)
def test_folds_that_diverged_count_nothing(
    make_record: Callable[..., Record], division: dict[str, Any], tested: bool, said: str
) -> None:
    metrics = {"tuned_top1": 70.0} | ({"validation_top1": 72.0} if tested else {})
    protocol = {"metric": EVERY_CASE, "division": division, "data": "0123456789abcdef"}
    folds = dict.fromkeys((f"fold {i}" for i in range(1, division["folds"] + 1)), 70.0)
    lost = {"fold 2": None} | ({"fold 5": None} if division is KFOLD else {})
    done = make_record(
        "net~plain",
        "finetune",
        metrics=metrics,
        protocol=protocol,
        per_class={"tuned_top1": {"cat": 70.0}, "folds": folds | lost},
    )
    assert line([done]) == f"Fine-tuning: {said}; data 0123456789ab"


def test_of_what_only_failed_all_cases_are_told(make_record: Callable[..., Record]) -> None:
    protocol = {"metric": EVERY_CASE, "division": 3, "data": "0123456789abcdef"}
    failed = make_record(
        "net~plain", "finetune", metrics={}, protocol=protocol, status="failed", message="no memory"
    )
    assert line([failed]) == f"Fine-tuning: {EVERY_CASE}; data 0123456789ab"
