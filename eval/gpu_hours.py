"""GPU-hours of a plan's jobs where nothing was measured; see `eval.gpu_rates`. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from backbones import sizes
from backbones.catalog import NATIVE_SIZES
from benchmarks.schema import Benchmark
from classification.names import architecture_of_teacher
from eval.gpu_rates import (
    GPUS,
    PAPER_MINUTES,
    PASSES,
    Gpu,
    faster_rcnn_gmacs,
    fcn_gmacs,
    flops,
    utilisation,
)
from eval.jobs import Job
from eval.show import training_images

ASSUMED = GPUS[1]
"""Of which is spoken where the machine has no GPU, or one of another kind."""

_DRIVER = Path("/proc/driver/nvidia/gpus")
_SQUARE = 224**2
_DILATED = {8: 4.47, 16: 1.5}
"""By output stride: how many more GMACs ResNet-50-D has where its last stages are dilated."""


@dataclass(frozen=True, kw_only=True)
class FoundGpus:
    """models: a name for each GPU of this machine. known: what is assumed of the first; None where
    there is no GPU, or one of which nothing is assumed."""

    models: tuple[str, ...]
    known: Gpu | None


def found_gpus(driver: Path = _DRIVER) -> FoundGpus:
    """As NVIDIA's driver names them."""
    models = []
    for file in sorted(driver.glob("*/information")):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if named := re.search(r"Model:\s*(.+)", text):
            models.append(named[1].strip())
    known = next((gpu for gpu in GPUS if models and gpu.name in models[0]), None)
    return FoundGpus(models=tuple(models), known=known)


def gpu_hours(job: Job, benchmark: Benchmark, gpu: Gpu) -> float | None:
    """Of one GPU. None for what trains nothing, or where something is unknown."""
    budget = job.protocol.get("budget")
    architecture, width = job.spec.architecture, benchmark.backbone.width
    size = sizes.gmacs(architecture, width)
    if size is None or not isinstance(budget, dict):
        return None
    try:
        if job.kind == "classification":
            return _pretraining(job.protocol, size, architecture, benchmark, gpu)
        if job.kind == "detection":
            pixels = photo_pixels(budget["image_size"])
            gmacs = size * pixels / _SQUARE + faster_rcnn_gmacs(budget, pixels)
        elif job.kind == "segmentation":
            pixels = prod(budget["crop_size"])
            dilated = _DILATED.get(budget["output_stride"], 1.0)
            gmacs = size * dilated * pixels / _SQUARE + fcn_gmacs(budget, pixels)
        else:
            return None
        images = budget["iterations"] * budget["batch_size"]
        return float(images * _seconds(gmacs, "resnet50", gpu) * gpu.float32 / 3600)
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def photo_pixels(size: list[int]) -> int:
    """Of a photograph of 4 to 3 that is scaled into `size`, width and height."""
    unit = min(size[0] / 4, size[1] / 3)
    return round(12 * unit**2)


def _pretraining(
    protocol: Mapping[str, Any], size: float, architecture: str, benchmark: Benchmark, gpu: Gpu
) -> float | None:
    recipe, budget = protocol["recipe"], protocol["budget"]
    images = training_images(benchmark)
    if images is None:
        return None
    pixels = _pixels(architecture, budget["image_size"]) * recipe["train_size_scale"] ** 2
    family = architecture if architecture in PAPER_MINUTES else "resnet50"
    seconds = _seconds(size * pixels / _SQUARE, family, gpu)
    if "distillation" in recipe["tricks"]:
        teacher = architecture_of_teacher(recipe["tricks"]["distillation"]["teacher"])
        gmacs = sizes.gmacs(teacher, benchmark.backbone.width)
        if gmacs is None:
            return None
        seconds += _seconds(gmacs * pixels / _SQUARE, "resnet50", gpu) / PASSES
    passes = (recipe["epochs"] + recipe["cooldown_epochs"]) * budget["epoch_scale"]
    slower = gpu.float32 if recipe["precision"] == "float32" else 1.0
    return float(images * passes * seconds * slower / 3600)


def _seconds(gmacs: float, family: str, gpu: Gpu) -> float:
    """Of training on one image in half precision."""
    timed = "resnet50a" if family == "resnet50" else family
    reference = sizes.gmacs(timed)
    assert reference is not None, "the paper timed networks of ours"
    reference *= _pixels(timed, 224) / _SQUARE
    return flops(gmacs) / (gpu.tflops * 1e12 * utilisation(gpu, family, reference))


def _pixels(architecture: str, side: int) -> float:
    return float((side * NATIVE_SIZES.get(architecture, 224) / 224) ** 2)
