"""Everything that moves the number of a pretraining, as plain JSON."""

from __future__ import annotations

from typing import Any

from backbones.provenance import version
from benchmarks.schema import Benchmark
from classification.recipe import Recipe

# Raised by one whenever a change to the code changes what a pretraining computes.
REVISION = 2


def pretraining_protocol(
    architecture: str, recipe: Recipe, benchmark: Benchmark, data_digest: str
) -> dict[str, Any]:
    """Architecture, recipe, budget, data and versions of one pretraining."""
    pretraining = benchmark.require_pretraining()
    budget = pretraining.model_dump(
        # `batch_norm` matters to several processes, and is in what they say of themselves.
        mode="json",
        exclude={"root", "workers", "shrink_to", "batch_norm"},
    )
    return {
        "stage": "pretraining",
        "revision": REVISION,
        "architecture": architecture,
        "width": benchmark.backbone.width,
        "recipe": recipe.canonical(),
        "budget": {**budget, **pretraining.shrinking_facts()},
        "data": data_digest,
        **pretraining.left_out_facts(),
        "metric": "top1, top5 of the last weights, or of their average where the recipe keeps one, "
        "on the central crop of every validation image",
        "versions": {name: version(name) for name in ("torch", "mmengine", "timm")},
    }
