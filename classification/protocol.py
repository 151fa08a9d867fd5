"""Everything that moves the number of a pretraining, as plain JSON."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from benchmarks.schema import Benchmark
from classification.recipe import Recipe

# Raised by one whenever a change to the code changes what a pretraining computes.
REVISION = 2


def pretraining_protocol(
    architecture: str, recipe: Recipe, benchmark: Benchmark, data_digest: str
) -> dict[str, Any]:
    """Architecture, recipe, budget, data and versions of one pretraining."""
    budget = benchmark.pretraining.model_dump(mode="json", exclude={"root", "workers", "shrink_to"})
    return {
        "stage": "pretraining",
        "revision": REVISION,
        "architecture": architecture,
        "width": benchmark.backbone.width,
        "recipe": recipe.canonical(),
        "budget": {**budget, **benchmark.pretraining.shrinking_facts()},
        "data": data_digest,
        **benchmark.pretraining.left_out_facts(),
        "metric": "top1, top5 of the last weights, or of their average where the recipe keeps one, "
        "on the central crop of every validation image",
        "versions": {name: version(name) for name in ("torch", "mmengine", "timm")},
    }
