"""Ablations: which rows each mode asks for, counted by hand, and what a plan shares among them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice, permutations
from pathlib import Path
from typing import Protocol

import pytest

from benchmarks.schema import Benchmark
from classification.recipes import RECIPES
from classification.tricks import Epochs, Warmup
from eval.ablation import MODES, Ablation, Wish, ablate, ablate_all, drawn_orders
from eval.arguments import ABLATIONS
from eval.plan import Plan, make_plan
from eval.records import Records
from eval.specs import Spec, parse_spec

TEN = (
    "large_batch",
    "warmup",
    "zero_gamma",
    "no_bias_decay",
    "half_precision",
    "cosine_decay",
    "label_smoothing",
    "mixup",
    "epochs",
    "distillation",
)
"""The tricks of mixup_distill."""


class Stages(Protocol):
    calls: list[str]

    def run(self, *arguments: str, **behavior: str) -> tuple[int, str, str]: ...


def of(name: str, mode: str, permutations: int = 3) -> Ablation:
    (spec,) = parse_spec(name)
    return ablate(spec, mode, permutations=permutations)  # type: ignore[arg-type]


def names(ablation: Ablation) -> list[str]:
    return [spec.name.removeprefix("resnet50d_") for spec in ablation.specs]


def plan_of(ablation: Ablation, benchmark: Benchmark, digests: dict[str, str], out: Path) -> Plan:
    return make_plan(
        ablation.specs,
        benchmark,
        ("detection", "segmentation"),
        (0,),
        out,
        records=Records(by_key={}),
        digests=digests,
    )


def test_the_stack_is_the_papers_rows() -> None:
    assert names(of("resnet50d_mixup_distill", "stack")) == [
        "standard",
        "ladder1024_linear_scaling",
        "ladder1024_warmup",
        "ladder1024_zero_gamma",
        "ladder1024_no_bias_decay",
        "efficient",
        "cosine",
        "smooth",
        "smooth+mixup",
        "mixup",
        "mixup_distill",
    ]


def test_leave_one_out_is_the_recipe_and_each_without() -> None:
    found = names(of("resnet50d_mixup_distill", "leave-one-out"))
    assert found[0] == "mixup_distill"
    assert found[1:] == [*(f"mixup_distill-{trick}" for trick in TEN[:-1]), "mixup"]


def test_one_at_a_time_is_the_base_and_each_alone() -> None:
    ablation = of("resnet50d_mixup_distill", "one-at-a-time")
    assert [spec.tricks for spec in ablation.specs] == [(), *((trick,) for trick in TEN)]
    assert names(ablation)[:4] == [
        "standard",
        "ladder1024_linear_scaling",
        "ladder256_warmup",
        "standard+zero_gamma",
    ]


def test_shapley_is_the_prefixes_of_random_orders() -> None:
    found = {frozenset(spec.tricks) for spec in of("resnet50d_mixup_distill", "shapley").specs}
    expected = {
        frozenset(order[:count])
        for order in islice(drawn_orders(TEN), 3)
        for count in range(len(TEN) + 1)
    }
    assert found == expected
    assert 11 < len(found) <= 2 + 3 * 9  # both ends are shared


@pytest.mark.parametrize(
    ("mode", "rows", "trainings"),
    # Each mode has 11 recipes; the teacher, resnet152d_mixup, is one training more.
    [("stack", 11, 12), ("leave-one-out", 11, 12), ("one-at-a-time", 11, 12)],
)
def test_a_plan_shares_what_is_common(
    mode: str,
    rows: int,
    trainings: int,
    benchmark_mini: Benchmark,
    digests: dict[str, str],
    tmp_path: Path,
) -> None:
    ablation = of("resnet50d_mixup_distill", mode)
    assert len(ablation.specs) == rows
    plan = plan_of(ablation, benchmark_mini, digests, tmp_path)
    kinds = Counter(job.kind for job in plan.jobs)
    # One control of random weights for all, and two fine-tunings for each row and for the control.
    assert kinds == {
        "obtain": 1,
        "classification": trainings,
        "detection": rows + 1,
        "segmentation": rows + 1,
    }
    (teacher,) = [job for job in plan.jobs if job.spec.name == "resnet152d_mixup"]
    taught = [job for job in plan.jobs if teacher.id in job.needs]
    distilled = sum("distillation" in spec.tricks for spec in ablation.specs)
    assert len(taught) == distilled == {"stack": 1, "leave-one-out": 10, "one-at-a-time": 1}[mode]


def test_shapley_shares_too_and_tells_its_budget(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path
) -> None:
    ablation = of("resnet50d_mixup_distill", "shapley")
    plan = plan_of(ablation, benchmark_mini, digests, tmp_path)
    count = len(ablation.specs)
    wish = Wish(backbones=("resnet50d_mixup_distill",), mode="shapley", permutations=3)
    said = wish.said(plan)
    assert f"{count} recipes; {count + 1} pretrainings" in said
    assert "3 random orders" in said


def test_two_ablations_share_their_rows(benchmark_mini: Benchmark) -> None:
    wish = Wish(backbones=("resnet50d_mixup", "resnet50d_mixup_distill"), mode="stack")
    assert len(ablate_all(wish, benchmark_mini).specs) == 11


def test_orders_do_not_depend_on_how_the_tricks_are_given_or_how_many_are_drawn() -> None:
    few = list(islice(drawn_orders(["a", "b", "c"]), 5))
    many = list(islice(drawn_orders(["c", "a", "b"]), 600))
    assert many[:5] == few
    counts = Counter(many)
    assert set(counts) == set(permutations("abc"))
    # Of 600 draws each of six orders gets 100 with a standard deviation of 9.
    assert all(60 < count < 140 for count in counts.values())


def test_a_row_that_cannot_be_trained_is_left_out_and_said() -> None:
    (spec,) = parse_spec("resnet50d_mixup")

    def refuse(row: Spec) -> None:
        if "warmup" not in row.tricks:
            raise ValueError("a large batch needs a warmup")

    ablation = ablate(spec, "leave-one-out", check=refuse)
    assert "resnet50d_mixup-warmup" not in [row.name for row in ablation.specs]
    assert len(ablation.specs) == 9
    (line,) = ablation.skipped
    assert "resnet50d_mixup without warmup" in line
    assert "a large batch needs a warmup" in line


def test_a_recipe_that_the_algebra_refuses_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 30 epochs of warmup fit into the recipe's 40 epochs, and not into its base's 20.
    base = replace(RECIPES["standard"], epochs=20, schedule=RECIPES["cosine"].schedule)
    monkeypatch.setitem(RECIPES, "long_warmup", base | Epochs(40) | Warmup(30))
    ablation = of("resnet50d_long_warmup", "leave-one-out")
    assert [spec.tricks for spec in ablation.specs] == [("epochs", "warmup"), ("epochs",)]
    (line,) = ablation.skipped
    assert "with only warmup" in line
    assert "must be shorter than the training" in line


@pytest.mark.parametrize("name", ["scratch:resnet50d", "timm:resnet18", "resnet50d_standard"])
def test_what_has_no_tricks_cannot_be_ablated(name: str) -> None:
    with pytest.raises(ValueError, match=r"recipe|no trick"):
        of(name, "stack")


def test_the_command_line_names_the_same_modes() -> None:
    assert ABLATIONS == MODES


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ablate", "resnet50d_mixup", "--backbone", "resnet50d_mixup"],
        ["--ablation", "stack", "--backbone", "resnet50d_mixup"],
        ["--ablate", "resnet50d_mixup", "--permutations", "3"],
        ["--ablate", "resnet50d_mixup", "--ablation", "leave-one-out", "--permutations", "3"],
        ["--ablate", "scratch:resnet50d"],
        ["--ablate", "resnet50d_mixup-nothing"],
    ],
)
def test_wrong_usage_gives_2(stages: Stages, arguments: list[str]) -> None:
    code, _, err = stages.run(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert stages.calls == []


def test_the_dry_run_says_the_budget_first(stages: Stages) -> None:
    code, out, _ = stages.run("--ablate", "resnet50d_efficient", "--dry-run")
    assert code == 0
    # Five tricks: six rows and as many pretrainings, one control, seven fine-tunings of each kind.
    assert "6 recipes; 6 pretrainings with all seeds and teachers, of which 0 are done" in out
    assert out.index("6 recipes") < out.index("to do")
    assert out.count("  to do ") == 6 + 1 + 7 + 7


def test_an_ablation_goes_on_from_what_backbones_left(stages: Stages) -> None:
    tasks = ["--tasks", "segmentation"]
    ablation = ["--ablate", "resnet50d_ladder1024_warmup", "--ablation", "leave-one-out", *tasks]
    assert stages.run("--backbone", "resnet50d_ladder1024_warmup", *tasks)[0] == 0
    assert len(stages.calls) == 4  # weights of the control, a pretraining, two fine-tunings
    code, out, _ = stages.run(*ablation)
    assert code == 0
    assert "3 recipes; 3 pretrainings with all seeds and teachers, of which 1 is done" in out
    assert len(stages.calls) == 4 + 2 * 2
    assert "resnet50d_ladder1024_linear_scaling" in out  # minus the warmup
    assert "resnet50d_ladder256_warmup" in out  # minus the large batch
