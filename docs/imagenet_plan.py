"""What the paper's rows cost on GPUs: arithmetic from the networks' sizes, not measurements."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from classification.budget import IMAGENET_IMAGES
from classification.recipes import RECIPES
from classification.tricks.distillation import Distillation
from eval.gpu_rates import (
    PAPER_MINUTES,
    Gpu,
    faster_rcnn_gmacs,
    fcn_gmacs,
    flops,
)
from eval.gpu_rates import utilisation as share_of_peak


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
    """See `eval.gpu_rates.utilisation`; the GMACs are counted here."""
    return share_of_peak(gpu, family, gmacs("resnet50a" if family == "resnet50" else family))


def images_per_second(gpu: Gpu, row: Row) -> float:
    seconds = flops(row.gmacs) / (gpu.tflops * 1e12 * utilisation(gpu, row.family))
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
        images=IMAGENET_IMAGES * made.epochs,
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
    detector = gmacs("resnet50d") * 800 * 600 / 224**2 + faster_rcnn_gmacs(detection, 800 * 600)
    crop = prod(segmentation["crop_size"])
    segmentor = gmacs("resnet50d", output_stride=8) * crop / 224**2 + fcn_gmacs(segmentation, crop)
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
