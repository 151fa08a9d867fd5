"""No stage is computed twice: the rows of the paper's Table 6, counted job by job."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schema import Benchmark
from eval.layout import Layout
from eval.plan import Plan, make_plan
from eval.records import read_records
from eval.specs import parse_specs

RECIPES = ("standard", "efficient", "cosine", "smooth", "distill", "mixup", "mixup_distill")
ROWS = tuple(f"resnet50d_{recipe}" for recipe in RECIPES)
TEACHERS = ("resnet152d_smooth", "resnet152d_mixup")


def expected(seeds: int) -> Counter[str]:
    """Every row and its control once for each seed, fine-tuned twice; teachers once for all."""
    return Counter(
        obtain=seeds,
        classification=len(ROWS) * seeds + len(TEACHERS),
        detection=(len(ROWS) + 1) * seeds,
        segmentation=(len(ROWS) + 1) * seeds,
    )


def kind_of(call: str) -> str:
    """Of a line of the fake stages: the name of its job."""
    kind = call.partition("-")[0]
    return {"pretraining": "classification", "weights": "obtain"}.get(kind, kind)


def run_table(stages: Any, seeds: tuple[str, ...]) -> None:
    ask = ("--backbone", *ROWS, "--seeds", *seeds, "--out", "out")
    code, _, err = stages.run(*ask)
    assert code == 0, err
    assert max(Counter(stages.calls).values()) == 1  # by name, and by what they are:
    assert Counter(map(kind_of, stages.calls)) == expected(len(seeds))
    before = len(stages.calls)
    code, _, err = stages.run(*ask)
    assert code == 0, err
    assert len(stages.calls) == before


def test_a_table_of_seven_rows_computes_every_stage_once(stages: Any) -> None:
    run_table(stages, ("0",))


@pytest.mark.slow
def test_a_table_of_seven_rows_and_three_seeds_computes_every_stage_once(stages: Any) -> None:
    run_table(stages, ("0", "1", "2"))


def plan_of(
    names: tuple[str, ...], benchmark: Benchmark, digests: dict[str, str], out: Path, seeds: Any
) -> Plan:
    return make_plan(
        parse_specs(names),
        benchmark,
        ("detection", "segmentation"),
        seeds,
        out,
        records=read_records(Layout(out).records),
        digests=digests,
    )


def test_three_seeds_are_planned_once_each(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    plan = plan_of(ROWS, benchmark_mini, digests, tmp_path, (0, 1, 2))
    assert Counter(job.kind for job in plan.jobs) == expected(3)
    assert len({job.key or job.id for job in plan.jobs}) == len(plan.jobs)


def test_two_names_of_one_training_are_two_rows_and_one_training(stages: Any) -> None:
    """Table 4's first step from `standard` changes nothing at batch 256."""
    twins = ("resnet50d_standard", "resnet50d_ladder256_linear_scaling")
    ask = ("--tasks", "detection", "--out", "out", "--backbone")
    code, out, err = stages.run(*ask, twins[0])
    assert code == 0, err
    assert Counter(map(kind_of, stages.calls)) == Counter(obtain=1, classification=1, detection=2)
    code, out, err = stages.run(*ask, *twins)  # the second is there under the first one's name
    assert code == 0, err
    assert len(stages.calls) == 4
    assert all(name.replace("_", "\\_") in out or name in out for name in twins)


def test_twins_asked_for_together(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    twins = ("resnet50d_ladder1024_half_precision", "resnet50d_efficient")
    plan = plan_of(twins, benchmark_mini, digests, tmp_path, (0,))
    assert Counter(job.kind for job in plan.jobs) == Counter(
        obtain=1, classification=1, detection=2, segmentation=2
    )
    assert {cell.row.name for cell in plan.cells} == {*twins, "scratch:resnet50d"}


def test_a_training_that_is_there_under_another_name_is_taken(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    first = plan_of(("resnet50d_standard",), benchmark_mini, digests, tmp_path, (0,))
    (made,) = (job.artifact for job in first.jobs if job.kind == "classification")
    made.mkdir(parents=True)
    second = plan_of(
        ("resnet50d_ladder256_linear_scaling",), benchmark_mini, digests, tmp_path, (0,)
    )
    assert [job.artifact for job in second.jobs if job.kind == "classification"] == [made]
