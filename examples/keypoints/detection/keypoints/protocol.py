"""Everything that moves the number of a keypoint fine-tuning, as plain JSON."""

from __future__ import annotations

from typing import Any

from backbones.provenance import version
from benchmarks.schema import Benchmark

# Raised by one whenever a change to the code changes what a fine-tuning computes.
REVISION = 1

MARGIN = 1.25
"""Side of a person's square crop, in longer sides of the box."""
CLOSE = 0.1
"""How far off a keypoint may be and count as found, in longer sides of the box."""


def keypoint_protocol(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """Soft-argmax heatmaps: budget, data, metric and versions."""
    budget = benchmark.keypoints
    assert budget is not None, "the benchmark has no keypoints"
    return {
        "stage": "keypoints",
        "revision": REVISION,
        "model": "heatmaps on C2..C5, soft-argmax (Sun et al. 2018, arXiv:1711.08229)",
        "budget": budget.model_dump(mode="json", exclude={"root", "workers"}),
        "data": data_digest,
        **budget.left_out_facts(),
        "metric": f"PCK: labelled keypoints within {CLOSE} of the longer side of the given box",
        "crop": f"square of {MARGIN} longer sides around the given box",
        "random_weights": "nothing frozen, batch norms learn",
        "preprocessing": "mean, std and interpolation of the artifact",
        "weights": "last iteration",
        "versions": {name: version(name) for name in ("torch", "mmengine")},
    }
