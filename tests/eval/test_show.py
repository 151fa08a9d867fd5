"""`trickle show`: the numbers of a recipe and where they come from, checked against the paper."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.schema import load_benchmark
from classification.recipe import Recipe
from classification.tricks import CosineDecay, Epochs, LargeBatch, Warmup
from eval.cli import main
from eval.show import provenance, show


def test_the_numbers_of_the_papers_mixup_row_and_what_set_them() -> None:
    numbers = show("resnet50d_mixup", load_benchmark("paper"))["numbers"]
    expected = {
        "optimizer.learning_rate": (0.4, "large_batch"),
        "optimizer.weight_decay": (1e-4, "baseline"),
        "batch_size": (1024, "large_batch"),
        "epochs": (200, "epochs"),
        "warmup_epochs": (5, "warmup"),
        "schedule.type": ("CosineDecay", "cosine_decay"),
        "precision": ("half", "half_precision"),
        "augmentation.color": (0.4, "baseline"),
    }
    for name, (value, set_by) in expected.items():
        assert numbers[name]["value"] == pytest.approx(value), name
        assert numbers[name]["set_by"] == set_by, name


def test_the_last_trick_that_changes_a_number_has_set_it() -> None:
    recipe = Recipe() | LargeBatch(512) | CosineDecay() | Warmup(5) | Epochs(60)
    numbers = provenance(recipe)
    assert numbers["epochs"] == {"value": 60, "set_by": "epochs"}
    assert numbers["schedule.final"]["set_by"] == "cosine_decay"
    assert "schedule.milestones" not in numbers, "the schedule that was replaced has no say"
    assert numbers["loss"]["set_by"] == "baseline"


def test_what_was_changed_by_hand_is_said() -> None:
    numbers = provenance(replace(Recipe() | LargeBatch(1024), batch_size=512))
    assert numbers["batch_size"] == {"value": 512, "set_by": "the recipe itself"}


def test_what_a_benchmark_makes_of_it() -> None:
    plan = show("resnet50d_mixup", load_benchmark("mini"))["plan"]
    # 200 epochs * 0.025 = 5 passes over 10,000 images, 1024 / 16 = 64 images a step.
    assert (plan["epochs"], plan["batch_size"], plan["steps"]) == (5, 64, 781)
    assert plan["learning_rate"] == pytest.approx(0.1)  # 0.4 * 0.25
    assert (plan["eval_size"], plan["resize_size"], plan["width"]) == (64, 73, 0.25)


def test_expected_accuracy_and_teacher() -> None:
    shown = show("resnet50d_mixup_distill", load_benchmark("paper"))
    assert shown["expected_top1"] == 79.33  # CVPR, Table 6
    assert shown["teacher"] == "resnet152d_mixup"
    assert show("inception_v3_mixup", load_benchmark("paper"))["expected_top1"] == 78.77


def test_every_name_can_be_read_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "timm:levit_384_usi"]) == 0
    out = capsys.readouterr().out
    assert "82.70" in out
    assert "rand_augment  num_ops=2  magnitude=7" in out
    assert main(["show", "resnet50d_mixup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["backbone"] == "resnet50d_mixup"


def test_unknown_names_say_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "resnet50d_mixpu"]) == 2
    assert "mixup" in capsys.readouterr().err
