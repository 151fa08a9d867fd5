"""What training takes on GPUs that nothing was measured on: arithmetic, not measurements.

docs/performance.md shows it for every row of the paper, with what it assumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from classification.budget import IMAGENET_IMAGES

PAPER_MINUTES = {"resnet50": 4.4, "inception_v3": 8.0, "mobilenet": 3.7}
"""Of an epoch on 8 V100 at batch 1024 in half precision: He et al. 2019, Table 3."""
PAPER_MINUTES_FLOAT32 = 13.3
"""The same for ResNet-50 at batch 256 in float32."""
PAPER_GPUS = 8
PASSES = 3
"""Forward, and twice as much backward: for the inputs and for the weights."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """tflops: dense peak in half precision; bandwidth: of its memory, in TB/s; float32: how much
    longer a step takes in it. All but the V100's last are the makers' data sheets and assumptions.
    """

    name: str
    tflops: float
    bandwidth: float
    float32: float


GPUS = (
    Gpu(
        name="V100",
        tflops=125,
        bandwidth=0.9,
        float32=PAPER_MINUTES_FLOAT32 / PAPER_MINUTES["resnet50"],
    ),
    Gpu(name="A100", tflops=312, bandwidth=2.04, float32=2.0),
    Gpu(name="H100", tflops=989, bandwidth=3.35, float32=2.0),
)


def utilisation(gpu: Gpu, family: str, gmacs: float) -> float:
    """The share of the peak that training reaches; gmacs: of the network that the paper timed.

    On the V100 as the paper measured it; on others so that images per second grow as the memory's
    bandwidth, which bounds these networks (normalizations and activations are memory traffic).
    """
    seconds = PAPER_MINUTES[family] * 60 * PAPER_GPUS
    achieved = IMAGENET_IMAGES * flops(gmacs) / seconds
    v100 = GPUS[0]
    return (
        achieved
        / (v100.tflops * 1e12)
        * (gpu.bandwidth / v100.bandwidth)
        * (v100.tflops / gpu.tflops)
    )


def flops(gmacs: float) -> float:
    """Of training on an image: a multiplication and an addition each, three passes."""
    return gmacs * 1e9 * 2 * PASSES


def fcn_gmacs(budget: Mapping[str, Any], pixels: int) -> float:
    """Head: two convolutions, one over their and the backbone's output, the classifier."""
    channels, classes = budget["head_channels"], len(budget["classes"])
    head = 9 * (2048 * channels + channels**2 + (2048 + channels) * channels) + channels * classes
    auxiliary = 9 * 1024 * 256 + 256 * classes
    return float(head + auxiliary) * pixels / 8**2 / 1e9


def faster_rcnn_gmacs(budget: Mapping[str, Any], pixels: int) -> float:
    """FPN and RPN at strides 4 to 64, the fully connected layers of every sampled region."""
    wide, fully, anchors = budget["fpn_channels"], budget["head_channels"], 3
    cells = {stride: pixels / stride**2 for stride in (4, 8, 16, 32, 64)}
    lateral = sum(
        cells[s] * c * wide for s, c in zip((4, 8, 16, 32), (256, 512, 1024, 2048), strict=True)
    )
    smoothed = sum(cells[stride] for stride in (4, 8, 16, 32)) * 9 * wide**2
    proposals = sum(cells.values()) * (9 * wide**2 + wide * 5 * anchors)
    classes = len(budget["classes"])
    region = 49 * wide * fully + fully**2 + fully * (classes + 1 + 4 * classes)
    return float(lateral + smoothed + proposals + budget["rois_per_image"] * region) / 1e9
