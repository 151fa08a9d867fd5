"""Everything that moves the number of a detection fine-tuning, as plain JSON."""

from __future__ import annotations

from typing import Any

from backbones.provenance import version
from benchmarks.schema import NOT_IN_BUDGET, Benchmark

# Raised by one whenever a change to the code changes what a fine-tuning computes.
REVISION = 2

_VOC_METRIC = "VOC AP at IoU 0.5, {}; difficult objects are ignored"
_METRICS = {"coco": "COCO AP over IoU 0.50:0.95; crowds (difficult objects) are ignored"}
_BOXES = {
    "voc": "VOC's corners minus one (MMDetection's VOCDataset); boxes without area left out",
    "coco": "COCO's corners; in training boxes below a pixel or outside the image left out "
    "(MMDetection's CocoDataset)",
}


def detection_protocol(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """Faster R-CNN with FPN: budget, data, metric variant, conventions and versions."""
    budget = benchmark.detection
    assert budget is not None, "the benchmark has no detection"
    return {
        "stage": "detection",
        "revision": REVISION,
        "detector": "Faster R-CNN with FPN (MMDetection faster-rcnn_r50_fpn)",
        "budget": budget.model_dump(mode="json", exclude=set(NOT_IN_BUDGET)),
        **budget.layout_facts(),
        "data": data_digest,
        **budget.left_out_facts(),
        **budget.test_time_facts(),
        "metric": _METRICS.get(budget.metric, _VOC_METRIC.format(budget.metric)),
        "boxes": _BOXES[budget.layout],
        "random_weights": "nothing frozen, batch norms learn",
        "preprocessing": "mean, std and interpolation of the artifact",
        "weights": "last iteration",
        "versions": {
            name: version(name)
            for name in ("torch", "torchvision", "mmengine", "mmcv-lite", "mmdet")
        },
    }
