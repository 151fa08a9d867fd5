"""Everything that moves the numbers of robustness, as plain JSON."""

from __future__ import annotations

from typing import Any

from backbones.provenance import version
from benchmarks.schema import Benchmark

# Raised by one whenever a change to the code changes what is measured.
REVISION = 1

NEEDS_IMAGES = "its images are attacked; leave robustness out of --tasks"
LEAST_IMAGES, MOST_IMAGES = 500, 5000
"""A tenth of the validation images is looked at, but no fewer and no more than these."""
EPSILONS = (1, 4)
"""Largest change of a pixel by FGSM, in levels of 255. The last is the metric's own and iterative
FGSM's: that of mixup (arXiv:1710.09412), section 3.5. A smaller one tells networks apart that all
give way."""
STEPS = 10
"""Of iterative FGSM, as in the same section."""
LEVELS = (1, 3, 5)
"""Of the corruptions' five severities."""

CORRUPTIONS: dict[str, tuple[tuple[float, ...], ...]] = {
    "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),  # standard deviation
    "shot_noise": ((60,), (25,), (12,), (5,), (3,)),  # photons of a white pixel
    "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),  # share of black or white
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),  # radius, soft edge
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),  # length, sigma
    "gaussian_blur": ((1,), (2,), (3,), (4,), (6,)),  # sigma
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),  # added to HSV's value
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),  # factor about the mean
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),  # factor, then addend
    "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),  # share of the side that is left
    "jpeg": ((25,), (18,), (15,), (10,), (7,)),  # quality
}
"""Parameters of severities 1 to 5 of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261,
and its code); pixels on the scale 0..1, lengths in pixels at 224 x 224."""


def robustness_protocol(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """Which images are looked at, and what is done to them."""
    budget = benchmark.require_pretraining(NEEDS_IMAGES)
    return {
        "stage": "robustness",
        "revision": REVISION,
        "metric": "top-1 in percent of the pretrained classifier",
        "images": "a tenth of the validation images, evenly from all classes, but at least "
        f"{LEAST_IMAGES} and at most {MOST_IMAGES}; the same for all backbones and seeds",
        "budget": {"image_size": budget.image_size, "resize_size": budget.resize_size},
        "data": data_digest,
        **budget.left_out_facts(),
        "preprocessing": "mean, std, interpolation and evaluation crop of the artifact",
        "attacks": {
            "fgsm": "white box, sign of the cross-entropy's gradient, pixels kept in 0..255, not "
            "rounded (mixup, arXiv:1710.09412, section 3.5)",
            "epsilons": list(EPSILONS),
            "fgsm_top1, ifgsm_top1": f"epsilon {EPSILONS[-1]}/255",
            "ifgsm": f"{STEPS} equal steps",
        },
        "corruptions": {
            "source": "Hendrycks and Dietterich 2019, arXiv:1903.12261; lengths scaled by "
            "side / 224; noise drawn for each image, the same for all backbones and seeds",
            "levels": list(LEVELS),
            "names": list(CORRUPTIONS),
        },
        "arithmetic": "float32",
        "versions": {name: version(name) for name in ("torch", "numpy")},
    }
