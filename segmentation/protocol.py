"""Everything that moves the number of a segmentation fine-tuning, as plain JSON."""

from __future__ import annotations

from typing import Any

from backbones.provenance import version
from benchmarks.schema import NOT_IN_BUDGET, Benchmark

# Raised by one whenever a change to the code changes what a fine-tuning computes.
REVISION = 3


def segmentation_protocol(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """FCN with dilated stages: budget, data, metric and versions."""
    budget = benchmark.segmentation
    assert budget is not None, "the benchmark has no segmentation"
    return {
        "stage": "segmentation",
        "revision": REVISION,
        "segmentor": "FCN (MMSegmentation fcn_r50-d8)",
        "budget": budget.model_dump(mode="json", exclude=set(NOT_IN_BUDGET)),
        **budget.layout_facts(),
        "data": data_digest,
        **budget.left_out_facts(),
        **budget.test_time_facts(),
        "metric": "mIoU over the classes present; 0 = other is ignored",
        "random_weights": "nothing frozen, batch norms learn",
        "preprocessing": "mean, std and interpolation of the artifact",
        "weights": "last iteration",
        "versions": {
            name: version(name) for name in ("torch", "mmengine", "mmcv-lite", "mmsegmentation")
        },
    }
