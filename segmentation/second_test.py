"""The second test of a segmentor, on several views of each image, by `SegTTAModel`."""

from __future__ import annotations

from functools import partial
from typing import Any

from mmengine.model import BaseTTAModel
from mmseg.models.segmentors.seg_tta import SegTTAModel

from benchmarks.schema import SegmentationBudget
from engine.second_test import SecondTest
from segmentation.data import views_data
from segmentation.metric import SegmentationMetric


def second_test(budget: SegmentationBudget, *, interpolation: str) -> SecondTest | None:
    """None where the benchmark asks for no views."""
    if not budget.view_scales:
        return None
    return SecondTest(
        data=partial(views_data, budget, interpolation=interpolation),
        merged=merged_segmentor,
        metric=SegmentationMetric(samples=()),
        kept=("intersection", "predicted", "labeled"),
    )


def merged_segmentor(segmentor: Any) -> BaseTTAModel:
    """The segmentor over views: of each pixel, in the image as it is, the mean of the softmaxes."""
    return SegTTAModel(module=segmentor)
