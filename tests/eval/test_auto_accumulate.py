"""`--auto-accumulate` reaches every job that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eval.jobs import python_module
from eval.records import Records
from eval.transfer import ask


@pytest.mark.parametrize("asked", [True, False])
def test_every_training_job_gets_the_flag(tmp_path: Path, asked: bool) -> None:
    question = ask(
        ["resnet18d_mixup"],
        benchmark="mini",
        seeds=[0],
        out=str(tmp_path),
        command="",
        auto_accumulate=asked,
    )
    jobs: Any = question.plan(Records(by_key={}), None).jobs
    flagged = {job.kind for job in jobs if "--auto-accumulate" in job.command}
    assert flagged == ({"classification", "detection", "segmentation"} if asked else set())


def test_the_flag_is_no_part_of_a_records_key(tmp_path: Path) -> None:
    plans: list[Any] = [
        ask(
            ["resnet18d_mixup"],
            benchmark="mini",
            seeds=[0],
            out=str(tmp_path),
            command="",
            auto_accumulate=asked,
        ).plan(Records(by_key={}), None)
        for asked in (True, False)
    ]
    assert [job.key for job in plans[0].jobs] == [job.key for job in plans[1].jobs]
    assert [job.id for job in plans[0].jobs] == [job.id for job in plans[1].jobs]


def test_a_flag_has_no_value() -> None:
    command = python_module("detection", seed=3, auto_accumulate=True, tolerate=None)
    assert command[-3:] == ("--seed", "3", "--auto-accumulate")
