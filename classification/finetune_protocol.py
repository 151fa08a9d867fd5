"""Everything that moves the numbers of a fine-tuning on one's own images, as plain JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

from backbones.provenance import version
from benchmarks.errors import BenchmarkError
from benchmarks.schema import OF_THIS_MACHINE, Benchmark, FineTuneBudget
from classification.derived import find_recipe
from classification.recipes import FINE_TUNING
from classification.tricks.pseudo_labels import PseudoLabels, pseudo_labels_of

# Raised by one whenever a change to the code changes what a fine-tuning computes.
REVISION = 3

_DIVISION = {"validation", "folds", "validation_share"}


def finetune_budget(benchmark: Benchmark) -> FineTuneBudget:
    """Raises BenchmarkError where the benchmark has none."""
    if benchmark.finetune is None:
        raise BenchmarkError(
            f"benchmark {benchmark.name} has no [finetune]: give its file one, with root = a "
            "folder of labelled images, or a CSV file of them"
        )
    return benchmark.finetune


def finetune_protocol(benchmark: Benchmark, data_digest: str, *, recipe: str) -> dict[str, Any]:
    """Recipe, budget, division of the images, data and versions.

    recipe: a name of `FINE_TUNING`. Raises BenchmarkError for a benchmark without [finetune], and
    one without unlabelled images where the recipe learns from these; ValueError as `find_recipe`
    does.
    """
    budget = finetune_budget(benchmark)
    unsaid = {*OF_THIS_MACHINE, *_DIVISION, "recipe", "labelled_per_class"}
    return {
        "stage": "finetune",
        "revision": REVISION,
        "recipe": find_recipe(recipe, FINE_TUNING).canonical(),
        "budget": {**budget.model_dump(mode="json", exclude=unsaid), **budget.labelled_facts()},
        "division": _division(budget),
        "data": data_digest,
        **budget.left_out_facts(),
        **_unlabelled(benchmark.name, budget, recipe),
        "preprocessing": "mean, std, channel order and interpolation of the artifact",
        "metric": "of the test images, by the mean of the folds' probabilities; where there are "
        "none, of the training images that a fold was validated on, by the first such fold; AUC: "
        "the mean of the folds'",
        "versions": {name: version(name) for name in ("torch", "mmengine", "timm", "scikit-learn")},
    }


def _unlabelled(name: str, budget: FineTuneBudget, recipe: str) -> dict[str, str]:
    """The digest of the folder of unlabelled images, where the recipe learns from them."""
    found = find_recipe(recipe, FINE_TUNING)
    if pseudo_labels_of(found) is None:
        return {}
    _ = found - PseudoLabels  # round 0 is the recipe without it: refused here where it cannot be
    if not _has_unlabelled(budget):
        raise BenchmarkError(
            f"{recipe} learns from unlabelled images, and benchmark {name} has none: let "
            "unlabelled of [finetune] name a folder of them, let labelled_per_class be less than a "
            "class has training images, or take pseudo_labels out of the recipe"
        )
    if budget.unlabelled is None:
        return {}
    from benchmarks.unlabelled_images import unlabelled_state  # which loads numpy

    return {"unlabelled": _digest(budget.model_dump_json(), unlabelled_state(budget))}


def _has_unlabelled(budget: FineTuneBudget) -> bool:
    """Without a look at the images: whether each can be used shows when they are."""
    if budget.unlabelled is not None:
        return True
    if budget.labelled_per_class is None:
        return False
    from benchmarks.unlabelled_images import read_unlabelled

    return bool(read_unlabelled(budget))


@cache
def _digest(budget: str, state: str) -> str:
    """Of a budget as JSON: once for all rows and seeds of a plan, as long as nothing changes."""
    from benchmarks.unlabelled_images import unlabelled_digest

    return unlabelled_digest(FineTuneBudget.model_validate_json(budget))


def _division(budget: FineTuneBudget) -> dict[str, str | int | float]:
    """How the training images are divided, and nothing that this way does not look at."""
    said: dict[str, str | int | float] = {"validation": budget.validation}
    if budget.validation != "holdout":
        said["folds"] = budget.folds
    if budget.validation != "kfold":
        said["share"] = budget.validation_share
    return said
