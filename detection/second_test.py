"""The second test of a detector, on several views of each image, by `DetTTAModel`."""

from __future__ import annotations

from functools import partial
from typing import Any

from mmdet.models.test_time_augs import DetTTAModel
from mmengine.model import BaseTTAModel

from benchmarks.schema import DetectionBudget
from detection.data import views_data
from detection.metric import DetectionMetric
from engine.second_test import SecondTest


def second_test(budget: DetectionBudget, *, interpolation: str) -> SecondTest | None:
    """None where the benchmark asks for no views."""
    if not budget.view_scales:
        return None
    return SecondTest(
        data=partial(views_data, budget, interpolation=interpolation),
        merged=merged_detector,
        metric=DetectionMetric(budget.metric, len(budget.classes)),
        kept=("image", "box", "score", "label"),
    )


def merged_detector(detector: Any) -> BaseTTAModel:
    """The detector over views: the boxes of all together go through its own NMS, and as many of
    them are kept as it keeps of one."""
    return DetTTAModel(module=detector, tta_cfg=detector.test_cfg.rcnn)
