"""Whether an architecture can do what a suite will ask of it, known before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from backbones.catalog import (
    MINIMUM_SIZES,
    TORCHVISION_MODELS,
    UnknownNameError,
    check_architecture,
)

PRETRAINING = "pretraining"
_CLASSIFYING = {PRETRAINING: "pretrained", "probes": "probed", "robustness": "attacked"}
"""Stages that need what a classifier sees, and not C2..C5 on the common grid."""


def check_usable(
    architecture: str,
    *,
    image_sizes: Mapping[str, tuple[int, int] | None],
    output_stride: int | None = None,
) -> None:
    """Raises ValueError, with the reason in one sentence, where the architecture cannot.

    architecture: as `create_backbone` takes it. image_sizes: what each stage ("pretraining",
    "detection", "segmentation", "probes", "robustness") will feed it, as (width, height) in pixels
    after padding, or None where images come in many sizes; fine-tunings ask for C2..C5, others for
    the classifier.
    output_stride: that segmentation asks for, None where nothing is segmented. A name that nothing
    bears raises UnknownNameError with the nearest names.

    Our own architectures are answered at once and without torch; a model of timm is built and run
    without numbers, which takes a second or two, once per process.
    """
    check_architecture(architecture)
    package, _, model = architecture.partition(":")
    if package == "torchvision":
        check_torchvision_model(model)
    if package == "timm":
        _check_timm(model, tuple(sorted(image_sizes.items())), output_stride)
        return
    smallest = MINIMUM_SIZES.get(architecture, 1)
    for stage, done in _CLASSIFYING.items():
        size = image_sizes.get(stage)
        if size is not None and min(size) < smallest:
            raise ValueError(
                f"{architecture} cannot be {done} on images of {size[0]} x {size[1]} pixels, "
                f"because its convolutions are not padded and leave nothing of less than "
                f"{smallest} x {smallest}"
            )


def check_torchvision_model(name: str) -> None:
    """Raises UnknownNameError for a model of torchvision that is not supported."""
    if name not in TORCHVISION_MODELS:
        raise UnknownNameError(
            f"torchvision:{name} is not supported: known are {', '.join(TORCHVISION_MODELS)}; many "
            f"others are in timm (timm:<model>)"
        )


@lru_cache(maxsize=256)
def _check_timm(
    name: str,
    image_sizes: tuple[tuple[str, tuple[int, int] | None], ...],
    output_stride: int | None,
) -> None:
    from backbones.timm_plan import plan_timm

    plan = plan_timm(name)
    if output_stride is not None:
        plan_timm(name, output_stride)
    for stage, size in image_sizes:
        fixed = plan.fixed_size
        if fixed is not None and size != (fixed, fixed):
            asked = "many sizes" if size is None else f"{size[0]} x {size[1]} pixels"
            raise ValueError(
                f"timm:{name} cannot be used, because it takes images of {fixed} x {fixed} pixels "
                f"only and {stage} has images of {asked}"
            )
    _run_without_numbers(name, dict(image_sizes))


def _run_without_numbers(name: str, image_sizes: Mapping[str, tuple[int, int] | None]) -> None:
    """Finds what a plan's own sizes did not: mostly images that are too small for the model."""
    import torch

    from backbones.timm_models import timm_backbone
    from backbones.timm_trial import needs_numbers

    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        try:
            backbone = timm_backbone(name).eval()
        except RuntimeError:
            return  # it looks at numbers when it is built, so it cannot be tried without
        for stage, size in image_sizes.items():
            if size is None:
                continue
            images = torch.zeros(1, 3, size[1], size[0])
            run = backbone.classification_features if stage == PRETRAINING else backbone
            try:
                run(images)
            except (RuntimeError, AssertionError, ValueError) as error:
                if needs_numbers(error):
                    continue
                first = str(error).strip().partition("\n")[0] or type(error).__name__
                raise ValueError(
                    f"timm:{name} cannot be used on {stage}'s images of {size[0]} x {size[1]} "
                    f"pixels: {first}"
                ) from error
