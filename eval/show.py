"""`trickle show`: every number that a training will use, and which trick set it.

Of SPEC~RECIPE it is the fine-tuning's; of ~RECIPE alone that of any backbone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from benchmarks.packaged import PACKAGED
from benchmarks.schema import Benchmark, ScaledBudget
from classification.budget import IMAGENET_IMAGES, training_plan
from classification.derived import find_card, find_recipe
from classification.identity import teacher_of
from classification.names import parse_backbone
from classification.recipe import Recipe
from classification.recipes import FINE_TUNING
from classification.recipes.card import NOT_MEASURED
from classification.recipes.user_file import user_file
from eval.specs import check_recipe_is_said, parse_spec, tuning_of

BASELINE = "baseline"


def show(name: str, benchmark: Benchmark, *, argument: str | None = None) -> dict[str, Any]:
    """`{"backbone", "source", "expected", ..., "numbers": {name: {"value", "set_by"}}, "plan"}`.

    argument: how the user named the benchmark. plan: the same numbers as the benchmark scales
    them; None where the size of its training set is not known yet. Raises UnknownNameError, and
    ValueError for a recipe that contradicts itself.
    """
    if name.startswith("~"):
        return _show_recipe(name[1:], benchmark)
    check_recipe_is_said(name)
    if tuning_of(name) is not None:
        return _show_tuning(name, benchmark, argument or benchmark.name)
    architecture, recipe_name = parse_backbone(name)
    recipe, card = find_recipe(recipe_name), find_card(recipe_name)
    teacher = teacher_of(name)
    return {
        "backbone": name,
        "architecture": architecture,
        "recipe": recipe_name,
        "source": card.source,
        "expected_top1": card.expected.get(architecture),
        "measured": card.measured,
        "note": card.note,
        "command": _command(name, argument or benchmark.name),
        "teacher": None if teacher is None else teacher.text,
        "numbers": provenance(recipe),
        "tricks": {trick.name: trick.to_dict() for trick in recipe.tricks},
        "benchmark": benchmark.name,
        "plan": _plan(recipe, architecture, benchmark),
    }


def _show_tuning(name: str, benchmark: Benchmark, argument: str) -> dict[str, Any]:
    (spec,) = parse_spec(name)
    assert spec.tuning is not None, "its name has one"
    shown = _show_recipe(spec.tuning, benchmark)
    shown |= {"backbone": spec.name, "architecture": spec.architecture}
    if benchmark.finetune is None:  # it has no images to fine-tune on
        command = _finetune_command(spec.tuning, spec.untuned.name)
        return {**shown, "command": command}
    recipe = find_recipe(spec.tuning, FINE_TUNING)
    plan = _scaled(recipe, spec.architecture, benchmark, benchmark.finetune, _fitted(benchmark))
    return {
        **shown,
        "command": _command(name, argument, verb="run", more=("--tasks", "finetune")),
        "plan": plan,
    }


def _show_recipe(name: str, benchmark: Benchmark) -> dict[str, Any]:
    """A recipe of fine-tuning, whatever backbone it is for."""
    recipe, card = find_recipe(name, FINE_TUNING), find_card(name, FINE_TUNING)
    return {
        "backbone": f"~{name}",
        "architecture": None,
        "recipe": name,
        "source": card.source,
        "expected_top1": None,
        "measured": card.measured,
        "note": card.note,
        "command": _finetune_command(name),
        "teacher": None,
        "numbers": provenance(recipe),
        "tricks": {trick.name: trick.to_dict() for trick in recipe.tricks},
        "benchmark": benchmark.name,
        "plan": None,
    }


def _fitted(benchmark: Benchmark) -> int | None:
    """How many images a fold is fitted on, nearly; None where its data is not there."""
    from benchmarks.labelled_images import read_labelled

    budget = benchmark.finetune
    assert budget is not None, "asked for"
    try:
        images = read_labelled(budget, "train")
    except (ValueError, OSError):
        return None
    share = 1 / budget.folds if budget.validation == "kfold" else budget.validation_share
    return None if images is None else round(len(images.samples) * (1 - share))


def provenance(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Every number of a recipe, and the trick that set it last ("baseline" for none)."""
    built = recipe.base
    values = _flat(built.numbers())
    set_by = dict.fromkeys(values, BASELINE)
    for trick in recipe.tricks:
        built = built | trick
        changed = _flat(built.numbers())
        for key in {**values, **changed}:
            if changed.get(key) != values.get(key):
                set_by[key] = trick.name
        values = changed
    final = _flat(recipe.numbers())
    for key in {**values, **final}:
        if final.get(key) != values.get(key):
            set_by[key] = "the recipe itself"
    return {key: {"value": value, "set_by": set_by[key]} for key, value in final.items()}


def to_text(shown: dict[str, Any]) -> str:
    """For reading: numbers beside what set them, in columns."""
    tuning = shown["backbone"].startswith("~") or tuning_of(shown["backbone"]) is not None
    expected = shown["expected_top1"]
    said = "not given for this architecture" if expected is None else f"{expected:.2f}"
    head = [
        ("source", shown["source"]),
        # One's own images are nobody else's: nothing is expected of them.
        ("expected", "" if tuning else said),
        ("measured", "" if tuning and shown["measured"] == NOT_MEASURED else shown["measured"]),
        ("note", shown["note"]),
        ("teacher", shown["teacher"] or ""),
        ("command", shown["command"]),
    ]
    lines = [shown["backbone"], ""]
    lines += [f"  {key:<10}{value}" for key, value in head if value]
    numbers = {key: (_text(n["value"]), n["set_by"]) for key, n in shown["numbers"].items()}
    name_width = max(map(len, numbers))
    value_width = max(len(value) for value, _ in numbers.values())
    images = "one's own images" if tuning else "ImageNet"
    lines += ["", f"Numbers, for {images}, and what set them:", ""]
    lines += [
        f"  {key:<{name_width}}  {value:<{value_width}}  {set_by}"
        for key, (value, set_by) in numbers.items()
    ]
    lines += ["", "Tricks:", ""]
    lines += [
        f"  {name}" + "".join(f"  {key}={_text(value)}" for key, value in knobs.items())
        for name, knobs in shown["tricks"].items()
    ] or ["  none"]
    if shown["plan"] is not None:
        lines += ["", f"On benchmark {shown['benchmark']}:", ""]
        width = max(map(len, shown["plan"]))
        lines += [f"  {key:<{width}}  {_text(value)}" for key, value in shown["plan"].items()]
    return "\n".join(lines)


def _command(name: str, benchmark: str, *, verb: str = "pretrain", more: Sequence[str] = ()) -> str:
    file = user_file()
    recipes = [] if file is None else ["--recipes", str(file)]
    return shlex.join(
        ["trickle", verb, "--backbone", name, "--benchmark", benchmark, *more, *recipes]
    )


def _finetune_command(recipe: str, backbone: str | None = None) -> str:
    """Of a folder of the user's own."""
    file = user_file()
    recipes = [] if file is None else ["--recipes", str(file)]
    backbones = [] if backbone is None else ["--backbone", backbone]
    return shlex.join(["trickle", "finetune", "FOLDER", *backbones, "--recipe", recipe, *recipes])


def _flat(numbers: dict[str, Any]) -> dict[str, Any]:
    """{"optimizer": {"name": ...}} -> {"optimizer.name": ...}."""
    flat: dict[str, Any] = {}
    for key, value in numbers.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": item for inner, item in value.items()}
        else:
            flat[key] = value
    return flat


def _plan(recipe: Recipe, architecture: str, benchmark: Benchmark) -> dict[str, Any] | None:
    budget = benchmark.require_pretraining()
    return _scaled(recipe, architecture, benchmark, budget, training_images(benchmark))


def _scaled(
    recipe: Recipe,
    architecture: str,
    benchmark: Benchmark,
    budget: ScaledBudget,
    images: int | None,
) -> dict[str, Any] | None:
    if images is None:
        return None
    plan = training_plan(recipe, budget, images, architecture=architecture)
    rate = recipe.optimizer.learning_rate * plan.learning_rate_scale
    numbers = {
        item.name: getattr(plan, item.name)
        for item in fields(plan)
        if item.name not in ("recipe", "learning_rate_scale")
    }
    return {
        "training_images": images,
        "epochs": recipe.total_epochs * budget.epoch_scale,
        "learning_rate": rate,
        "width": 1.0 if ":" in architecture else benchmark.backbone.width,
        **numbers,
    }


def training_images(benchmark: Benchmark) -> int | None:
    """Of a benchmark's pretraining; None where its data is not there."""
    if benchmark.world is not None:
        return benchmark.world.pretraining.train
    if benchmark.name in PACKAGED:  # all others are pretrained on it
        return IMAGENET_IMAGES
    from benchmarks.imagenet_layout import read_index

    try:
        return len(read_index(benchmark.require_pretraining().root, "train").samples)
    except (ValueError, OSError):
        return None


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)
