"""What the paper's rows cost on GPUs: arithmetic from the networks' sizes, not measurements."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from classification.recipes import RECIPES
from classification.tricks.distillation import Distillation

IMAGES = 1_281_167
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the paper's tables. forward: GMACs of what is run without a backward pass."""

    table: str
    name: str
    images: float
    gmacs: float
    forward: float = 0.0
    half: bool = True
    family: str = "resnet50"


def utilisation(gpu: Gpu, family: str) -> float:
    """The share of the peak that training reaches.

    On the V100 as the paper measured it; on others so that images per second grow as the memory's
    bandwidth, which bounds these networks (normalizations and activations are memory traffic).
    """
    seconds = PAPER_MINUTES[family] * 60 * PAPER_GPUS
    size = gmacs("resnet50a" if family == "resnet50" else family)
    achieved = IMAGES * _flops(size) / seconds
    v100 = GPUS[0]
    return (
        achieved
        / (v100.tflops * 1e12)
        * (gpu.bandwidth / v100.bandwidth)
        * (v100.tflops / gpu.tflops)
    )


def images_per_second(gpu: Gpu, row: Row) -> float:
    seconds = _flops(row.gmacs) / (gpu.tflops * 1e12 * utilisation(gpu, row.family))
    seconds += 2e9 * row.forward / (gpu.tflops * 1e12 * utilisation(gpu, "resnet50"))
    return 1 / (seconds if row.half else seconds * gpu.float32)


def hours(gpu: Gpu, row: Row) -> float:
    """GPU-hours of the whole row, without its teacher's training."""
    return row.images / images_per_second(gpu, row) / 3600


@cache
def gmacs(architecture: str, *, output_stride: int = 32) -> float:
    """Of one image at the size that the architecture is trained at, as `count_gmacs` has it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from backbones.create import create_backbone

    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed
        backbone = create_backbone(architecture, output_stride=output_stride).eval()
        images = torch.zeros(1, 3, backbone.native_size, backbone.native_size)
        with counter:
            backbone(images)
    return counter.get_total_flops() / 2 / 1e9


def pretraining(architecture: str, recipe: str, *, table: str) -> Row:
    made = RECIPES[recipe]
    teacher = next((t.teacher for t in made.tricks if isinstance(t, Distillation)), None)
    return Row(
        table=table,
        name=f"{architecture}_{recipe}",
        images=IMAGES * made.epochs,
        gmacs=gmacs(architecture),
        forward=0.0 if teacher is None else gmacs(str(teacher).split("_")[0]),
        half="half_precision" in made.trick_names,
        family=architecture if architecture in PAPER_MINUTES else "resnet50",
    )


def fine_tuning() -> list[Row]:
    """Detection and segmentation of ResNet-50-D as benchmarks/paper.toml has them, in float32."""
    file = Path(__file__).resolve().parents[1] / "benchmarks/paper.toml"
    paper: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    detection, segmentation = paper["detection"], paper["segmentation"]
    # A photograph of 500x375 pixels becomes 800x600.
    detector = gmacs("resnet50d") * 800 * 600 / 224**2 + _faster_rcnn(detection, 800 * 600)
    crop = prod(segmentation["crop_size"])
    segmentor = gmacs("resnet50d", output_stride=8) * crop / 224**2 + _fcn(segmentation, crop)
    return [
        Row(
            table="8: Faster R-CNN, VOC",
            name="detection, one backbone and seed",
            images=detection["iterations"] * detection["batch_size"],
            gmacs=detector,
            half=False,
        ),
        Row(
            table="9: FCN, ADE20K",
            name="segmentation, one backbone and seed",
            images=segmentation["iterations"] * segmentation["batch_size"],
            gmacs=segmentor,
            half=False,
        ),
    ]


def rows() -> list[Row]:
    """Tables 4, 5 and 6 with their teachers, and the fine-tuning of Tables 8 and 9."""
    names = ("efficient", "cosine", "smooth", "distill", "mixup", "mixup_distill")
    return [
        pretraining("resnet50a", "ladder256_linear_scaling", table="4: each of 8 in float32"),
        pretraining("resnet50a", "ladder1024_half_precision", table="4: each of 2 in half"),
        *(
            pretraining(f"resnet50{letter}", "efficient", table="5")
            for letter in ("a", "b", "c", "d")
        ),
        pretraining("resnet152d", "smooth", table="6: a teacher"),
        pretraining("resnet152d", "mixup", table="6: a teacher"),
        *(
            pretraining(architecture, name, table="6")
            for architecture in ("resnet50d", "inception_v3", "mobilenet")
            for name in names
        ),
        *fine_tuning(),
    ]


def _flops(gmacs: float) -> float:
    return gmacs * 1e9 * 2 * PASSES


def _fcn(budget: dict[str, Any], pixels: int) -> float:
    """Head: two convolutions, one over their and the backbone's output, the classifier."""
    channels, classes = budget["head_channels"], len(budget["classes"])
    head = 9 * (2048 * channels + channels**2 + (2048 + channels) * channels) + channels * classes
    auxiliary = 9 * 1024 * 256 + 256 * classes
    return float(head + auxiliary) * pixels / 8**2 / 1e9


def _faster_rcnn(budget: dict[str, Any], pixels: int) -> float:
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
