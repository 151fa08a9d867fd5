"""Whether every architecture of a question can do what its tasks ask; before any training."""

from __future__ import annotations

from collections.abc import Iterable

from backbones.catalog import UnknownNameError
from backbones.usable import check_usable
from benchmarks.schema import Benchmark
from classification.budget import evaluation_sizes
from classification.identity import teacher_of
from classification.recipes import RECIPES
from eval.jobs import Task
from eval.specs import Spec


def check_specs(specs: Iterable[Spec], benchmark: Benchmark, tasks: Iterable[Task]) -> None:
    """Raises ValueError, with the reason, for the first that cannot."""
    tasks = tuple(tasks)
    segmentation = benchmark.segmentation if "segmentation" in tasks else None
    stride = None if segmentation is None else segmentation.output_stride
    for spec in specs:
        # Detection scales images with their ratio and segmentation tests whole ones: many sizes.
        sizes: dict[str, tuple[int, int] | None] = dict.fromkeys(tasks)
        if spec.kind == "trained":
            assert spec.recipe is not None, "a trained backbone has a recipe"
            recipe = RECIPES[spec.recipe]
            side, _ = evaluation_sizes(recipe, benchmark.pretraining, spec.architecture)
            smaller = round(side * min(1.0, recipe.train_size_scale))
            sizes["pretraining"] = (smaller, smaller)
            _check_teacher(spec.name)
        try:
            check_usable(spec.architecture, image_sizes=sizes, output_stride=stride)
        except UnknownNameError:
            raise
        except ValueError as error:
            raise ValueError(f"{error}; or leave that task out with --tasks") from error


def _check_teacher(name: str) -> None:
    teacher = teacher_of(name)
    if teacher is not None and teacher.kind == "timm":
        from backbones.timm_plan import check_timm_model

        check_timm_model(teacher.text.removeprefix("timm:").partition("@")[0])
