"""The registry check finds what it is for."""

from __future__ import annotations

from classification.recipe import Recipe
from classification.tricks import TRICKS, Distillation, Mixup, Warmup
from eval.check_registries import main, name_problems, recipe_problems, trick_problems


def test_our_registries_are_sound() -> None:
    assert main() == 0
    assert name_problems() == []


def test_a_trick_under_another_name_and_a_file_without_a_line_are_found() -> None:
    problems = trick_problems({"mixdown": Mixup}, ["mixdown", "cutmix", "trick", "__init__"])
    assert any("calls itself 'mixup'" in problem for problem in problems)
    assert any("lives in mixup.py" in problem for problem in problems)
    assert "classification/tricks/cutmix.py is not in TRICKS" in problems


def test_twins_strangers_and_teachers_that_do_not_exist_are_found() -> None:
    recipes = {
        "a": Recipe(),
        "b": Recipe(),
        "c": Recipe() | Warmup(5),
        "d": Recipe() | Distillation(teacher="resnet152d_smoth"),
    }
    registry = {name: trick for name, trick in TRICKS.items() if name != "warmup"}
    problems = recipe_problems(recipes, registry)
    assert "recipes 'a' and 'b' are the same" in problems
    assert "recipe 'c' uses unregistered warmup" in problems
    assert any("smoth" in problem and "teacher" in problem for problem in problems)
