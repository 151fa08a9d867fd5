"""Test-time augmentation: a second test of the same weights, on several views of each image.

What it gains and costs stands beside the plain test, whose numbers stay what they are. The views
and how their answers become one are OpenMMLab's own: `TestTimeAug` and a `BaseTTAModel`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.evidence import Evidence

if TYPE_CHECKING:
    from mmengine.evaluator import BaseMetric
    from mmengine.model import BaseTTAModel
    from torch import nn
    from torch.utils.data import DataLoader

SUFFIX = "_tta"
"""Of the main metric in the second test."""
PLAIN_SECONDS, VIEWS_SECONDS = "test_seconds", "tta_seconds"
"""What the two tests took, in a result's cost; only where there are two."""
_PREFIX = "tta/"


@dataclass(frozen=True, kw_only=True)
class SecondTest:
    """data: all views of each test image, in the order of the plain test; made late, by a call.

    merged: the model whose answer to the views of an image is one. metric: a new one, as that of
    the plain test. kept: arrays of the evidence that hold answers; see `with_views`.
    """

    data: Callable[[], DataLoader[Any]]
    merged: Callable[[nn.Module], BaseTTAModel]
    metric: BaseMetric
    kept: tuple[str, ...]

    def run(self, model: nn.Module) -> tuple[dict[str, Any], float]:
        """The metrics, in all processes, and the seconds, those of building the data set left out
        as they are of the plain test's. model: not wrapped for several processes."""
        import torch
        from mmengine.evaluator import Evaluator

        self.metric.collect_device = "gpu"  # through the process group, as in build_runner
        data, merged = self.data(), self.merged(model.eval())
        evaluator = Evaluator([self.metric])
        evaluator.dataset_meta = data.dataset.metainfo  # type: ignore[attr-defined]
        started = time.monotonic()
        with torch.no_grad():
            for batch in data:
                evaluator.process(data_samples=merged.test_step(batch), data_batch=batch)
        found: dict[str, Any] = evaluator.evaluate(len(data.dataset))  # type: ignore[arg-type]
        return found, time.monotonic() - started

    def compared(
        self, metrics: Mapping[str, float | None], name: str, cost: Mapping[str, float]
    ) -> str:
        """`mAP 40.2, of several views 41.0 in 4.1 times the seconds`."""
        plain, views = (
            "–" if value is None else f"{value:.1f}"
            for value in (metrics[name], metrics[name + SUFFIX])
        )
        times = cost[VIEWS_SECONDS] / max(cost[PLAIN_SECONDS], 1e-9)
        return f"{name} {plain}, of several views {views} in {times:.1f} times the seconds"


def with_views(plain: Evidence, views: Evidence, kept: Sequence[str]) -> Evidence:
    """The evidence of a plain test, with the answers of the second as arrays `tta/<name>`."""
    answers = {_PREFIX + name: views.arrays[name] for name in kept}
    return replace(plain, arrays={**plain.arrays, **answers})


def views_in(evidence: Evidence) -> Evidence | None:
    """The second test's evidence, in the arrays of a plain one; None where there was none."""
    found = {
        name.removeprefix(_PREFIX): array
        for name, array in evidence.arrays.items()
        if name.startswith(_PREFIX)
    }
    return replace(evidence, arrays={**evidence.arrays, **found}) if found else None


def view_transforms(
    *,
    image_size: Sequence[int],
    scales: Sequence[float],
    flips: Sequence[bool],
    keep_ratio: bool,
    interpolation: str,
    last: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """OpenMMLab's `TestTimeAug`: each scale in each of `flips`, in this order.

    image_size: width and height at scale 1. last: transforms after the views are made; the truth is
    loaded there, so that it stays as the file has it.
    """
    sizes = [tuple(max(1, round(side * scale)) for side in image_size) for scale in scales]
    return dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=size, keep_ratio=keep_ratio, interpolation=interpolation)
                for size in sizes
            ],
            [dict(type="RandomFlip", prob=float(flip)) for flip in flips],
            *([transform] for transform in last),
        ],
    )
