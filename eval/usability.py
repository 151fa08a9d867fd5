"""Whether every architecture of a question can do what its tasks ask; before any training."""

from __future__ import annotations

from collections.abc import Iterable

from backbones.catalog import UnknownNameError
from backbones.obtain import Source, check_given_weights
from backbones.usable import check_usable
from benchmarks.schema import Benchmark
from classification.budget import evaluation_sizes, training_plan
from classification.derived import find_recipe
from classification.finetune_protocol import finetune_budget
from classification.identity import TeacherSource, teacher_of
from classification.recipe import Recipe
from classification.recipes import FINE_TUNING
from eval.identity import width_of
from eval.jobs import TRANSFERS, Task
from eval.specs import Spec, expected_tasks, parse_spec

Sizes = dict[str, tuple[int, int] | None]


def check_specs(specs: Iterable[Spec], benchmark: Benchmark, tasks: Iterable[Task]) -> None:
    """Raises ValueError, with the reason, for the first that cannot; teachers included.

    So it does for weights that are given as a file and do not fit, and for a name that torchvision
    does not have; torch is imported only for these and for models of timm.
    """
    specs, asked = tuple(specs), tuple(tasks)
    for spec in specs:
        tasks = expected_tasks(spec.name, asked)
        segmentation = benchmark.segmentation if "segmentation" in tasks else None
        stride = None if segmentation is None else segmentation.output_stride
        # Detection scales images with their ratio and segmentation tests whole ones: many sizes.
        sizes: Sizes = dict.fromkeys(task for task in TRANSFERS if task in tasks)
        side = 0
        if (photos := benchmark.pretraining or benchmark.finetune) is not None:
            side, _ = evaluation_sizes(Recipe(), photos, spec.architecture)
        if "probes" in tasks:
            sizes["probes"] = (side, side)
        if "robustness" in tasks and spec.kind == "artifact":  # others are pretrained, or left out
            sizes["robustness"] = (side, side)
        if "finetune" in tasks:
            sizes["finetune"] = _tuning_size(spec, benchmark)
        try:
            for training in _pretraining_sizes(spec, benchmark):
                check_usable(
                    spec.architecture, image_sizes={**sizes, **training}, output_stride=stride
                )
        except UnknownNameError:
            raise
        except ValueError as error:
            hint = "; or leave that task out with --tasks" if tasks else ""
            raise ValueError(f"{error}{hint}") from error
        if spec.kind in ("file", "timm", "torchvision"):
            weights = spec.weights if spec.file is None else str(spec.file)
            given = Source(architecture=spec.architecture, random=False, weights=weights)
            check_given_weights(given, width_of(spec, benchmark))
    teachers = (teacher_of(spec.untuned.name) for spec in specs if spec.kind == "trained")
    for teacher in dict.fromkeys(teachers):  # each once: many students may share one
        if teacher is not None:
            _check_teacher(teacher, benchmark)


def _pretraining_sizes(spec: Spec, benchmark: Benchmark) -> list[Sizes]:
    """Of the images that it is trained and evaluated on, where it is pretrained."""
    if spec.kind != "trained":
        return [{}]
    assert spec.recipe is not None, "a trained backbone has a recipe"
    # How many images there are does not matter to what a plan refuses.
    plan = training_plan(
        find_recipe(spec.recipe),
        benchmark.require_pretraining(),
        1,
        architecture=spec.architecture,
    )
    sides = dict.fromkeys((plan.train_size, plan.eval_size))
    return [{"pretraining": (side, side)} for side in sides]


def _tuning_size(spec: Spec, benchmark: Benchmark) -> tuple[int, int]:
    """Of the images that it is fine-tuned on. Raises ValueError for a recipe that does not fit."""
    budget = finetune_budget(benchmark)
    recipe = find_recipe(spec.tuning or budget.recipe, FINE_TUNING)
    side = training_plan(recipe, budget, 1, architecture=spec.architecture).train_size
    return side, side


def _check_teacher(teacher: TeacherSource, benchmark: Benchmark) -> None:
    if teacher.kind == "trained":
        check_specs(parse_spec(teacher.text), benchmark, ())
    if teacher.kind == "timm":
        from backbones.timm_models import load_timm
        from backbones.timm_plan import check_timm_model
        from backbones.weights_file import WeightsError

        model, _, file = teacher.text.removeprefix("timm:").partition("@")
        check_timm_model(model)
        if file:
            try:
                load_timm(model, file)  # as the student's training will
            except WeightsError as error:
                raise WeightsError(f"the teacher timm:{model}: {error}") from error
