"""What a job's training step needs: computed by laws that were measured, without torch.

`engine.memory` measures the same of a batch that did not fit. Its measure of ResNet-50-D at two
sizes of image gives the laws of the fine-tunings, in float32 with nothing frozen; a GPU that
computes in half precision needs about half of what grows with the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from backbones import sizes
from backbones.catalog import NATIVE_SIZES
from benchmarks.schema import Benchmark
from classification.names import architecture_of_teacher
from classification.optimizers import states_of
from eval.gpu_hours import photo_pixels
from eval.identity import width_of
from eval.jobs import Job

_TRANSIENT = 1.2
"""Gradients of the features and copies in other layouts, in what is kept."""
_DETECTOR = 1.14
"""Backbone, FPN and RPN, in what the backbone keeps."""
_REGIONS = 158.4e6 / (512 * 256)
"""Bytes for each region and channel of the FPN."""
_SEGMENTOR = {8: 2.65, 16: 1.6, 32: 1.28}
"""By output stride: backbone and heads, in what the backbone keeps without dilation."""
_LABELS = 25
"""Bytes for each pixel and class."""


@dataclass(frozen=True, kw_only=True)
class StepNeed:
    """Bytes: of the weights, their gradients and the optimizer's state, and of each image. images:
    of the batch that is computed at once. parameters: of all that is trained."""

    fixed: int
    image: int
    images: int
    parameters: int

    @property
    def whole(self) -> int:
        return self.fixed + self.image * self.images


def step_need(job: Job, benchmark: Benchmark) -> StepNeed | None:
    """None for a job that trains nothing, and of an architecture whose size is not known."""
    width = width_of(job.spec, benchmark)
    own = sizes.parameters(job.spec.architecture, width)
    budget = job.protocol.get("budget")
    if own is None or not isinstance(budget, dict):
        return None
    try:
        if job.kind in ("classification", "finetune"):
            return _training(job, own, width, budget)
        kept = sizes.kept_bytes(job.spec.architecture, width, 1)
        assert kept is not None, "all of ours have both"
        if job.kind == "detection":
            pixels = photo_pixels(budget["image_size"])
            regions = _REGIONS * budget["rois_per_image"] * budget["fpn_channels"]
            return _tuning(
                budget, own + _detector_heads(budget, width), pixels * kept * _DETECTOR + regions
            )
        if job.kind == "segmentation":
            pixels = prod(budget["crop_size"])
            image = kept * _SEGMENTOR[budget["output_stride"]] + _LABELS * len(budget["classes"])
            return _tuning(budget, own + _segmentor_heads(budget, width), pixels * image)
    except (KeyError, TypeError):
        pass
    return None


def _training(job: Job, own: int, width: float, budget: Mapping[str, Any]) -> StepNeed | None:
    """Of a classifier, by a recipe."""
    recipe, architecture = job.protocol["recipe"], job.spec.architecture
    side = budget["image_size"] * NATIVE_SIZES.get(architecture, 224) / 224
    kept = sizes.kept_bytes(architecture, width, (side * recipe["train_size_scale"]) ** 2)
    assert kept is not None, "all of ours have both"
    if recipe["precision"] != "float32":
        kept /= 2
    teacher = 0
    if "distillation" in recipe["tricks"]:
        name = architecture_of_teacher(recipe["tricks"]["distillation"]["teacher"])
        teacher = sizes.parameters(name, width) or 0
    states = states_of(recipe["optimizer"]["name"])
    tuning = recipe.get("tuning", {})
    if tuning.get("head_only"):
        states = 0
    copies = 2 + states + (recipe["ema_decay"] is not None) + tuning.get("best_weights", False)
    images = max(2, round(recipe["batch_size"] * budget["batch_size_scale"]))
    return StepNeed(
        fixed=4 * (copies * own + teacher),
        image=round(kept * _TRANSIENT),
        images=-(-images // recipe["accumulation"]),
        parameters=own,
    )


def _tuning(budget: Mapping[str, Any], parameters: int, image: float) -> StepNeed:
    """By SGD with momentum."""
    return StepNeed(
        fixed=4 * 3 * parameters,
        image=round(image),
        images=budget["batch_size"],
        parameters=parameters,
    )


def _detector_heads(budget: Mapping[str, Any], width: float) -> int:
    """FPN, RPN and the two fully connected layers, on a ResNet-50."""
    wide, fully, classes = budget["fpn_channels"], budget["head_channels"], len(budget["classes"])
    neck = (256 + 512 + 1024 + 2048) * width * wide + 4 * 9 * wide**2
    proposals = 9 * wide**2 + 15 * wide
    return int(neck + proposals + 49 * wide * fully + fully**2 + fully * (5 * classes + 1))


def _segmentor_heads(budget: Mapping[str, Any], width: float) -> int:
    """The FCN head and the auxiliary one, on a ResNet-50."""
    wide, classes = budget["head_channels"], len(budget["classes"])
    head = 9 * wide * 2 * (2048 * width + wide) + wide * classes
    auxiliary = 9 * 1024 * width * (wide // 2) + wide // 2 * classes if budget["auxiliary"] else 0
    return int(head + auxiliary)
