"""What was measured stands, whether or not what was seen could be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from engine.evidence import FILE_NAME, Evidence, leave_evidence, read_evidence
from engine.finetuning import finetune
from engine.results import StageResult

SEEN = Evidence(task="detection", classes=("cat",), images=("0",), arrays={"n": np.ones(1)})


def result_of_a_test(result: Path) -> StageResult:
    """The result of a fine-tuning whose test gave 40 %."""
    metric = object()
    runner: Any = SimpleNamespace(
        train=lambda: None,
        train_loop=SimpleNamespace(metrics={"mAP": 40.0, "per_class": [40.0], "n": 9}),
        val_loop=SimpleNamespace(evaluator=SimpleNamespace(metrics=[metric])),
        seconds_before=0.0,
        step_cost={},
        max_iters=3,
        model=nn.Linear(1, 1),
        protocol={},
        notes=("of the runner",),
    )
    finetune(
        runner,
        label="a test",
        result=result,
        protocol={},
        classes=("cat",),
        main_metric="mAP",
        evidence=lambda of: SEEN if of is metric else pytest.fail("another metric"),
    )
    return StageResult.read(result)


def test_evidence_that_cannot_be_written_does_not_fail_a_fine_tuning(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()  # which no file replaces
    found = result_of_a_test(tmp_path / "result.json")
    assert found.metrics["mAP"].value == 40.0
    assert found.evidence_sha256 is None
    assert found.notes == ("of the runner", "what it saw was not kept: Is a directory")


def test_evidence_that_can_be_written_is_named(tmp_path: Path) -> None:
    found = result_of_a_test(tmp_path / "result.json")
    assert found.notes == ("of the runner",)
    kept = read_evidence(tmp_path / FILE_NAME, sha256=found.evidence_sha256)
    assert kept.classes == ("cat",)


def test_evidence_that_cannot_be_made_is_left_out(tmp_path: Path) -> None:
    """Its pictures are read from images, which may be gone by then."""

    def made() -> Evidence:
        raise FileNotFoundError(2, "No such file or directory", "cat/0.jpg")

    note = "what it saw was not kept: No such file or directory"
    assert leave_evidence(made, tmp_path / "result.json") == (None, (note,))
