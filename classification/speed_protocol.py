"""Everything that moves the numbers of speed but the machine, as plain JSON."""

from __future__ import annotations

from typing import Any

from backbones.provenance import version
from benchmarks.schema import Benchmark

# Raised by one whenever a change to the code changes what is measured.
REVISION = 1

CLASSIFIED_SIDE = 224
CLASSIFIED_BATCH, DETECTED_BATCH = 16, 1
"""Images of a forward pass; detectors are timed with one, as MMDetection's benchmark does."""
WARMUP, ROUNDS = 2, 15
DIVISOR = 32
"""The detector pads its images to sides that this divides."""


def speed_protocol(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """Which forward passes are timed, and how. What is timed does not depend on any data, nor on
    weights. The machine stands in the record's environment."""
    sizes = {"224": {"image_size": [CLASSIFIED_SIDE] * 2, "batch": CLASSIFIED_BATCH}}
    if benchmark.detection is not None:
        sizes["detection"] = {
            "image_size": list(detected_size(benchmark.detection.image_size)),
            "batch": DETECTED_BATCH,
        }
    return {
        "stage": "speed",
        "revision": REVISION,
        "metric": "images/s forward of the backbone: the median of rounds in turns",
        "sizes": sizes,
        "rounds": ROUNDS,
        "warmup": WARMUP,
        "mode": "evaluation, without gradients, float32, channels last",
        "versions": {"torch": version("torch")},
    }


def detected_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of what the detector's backbone gets of an image of the largest size."""
    width, height = (-(-side // DIVISOR) * DIVISOR for side in image_size)
    return width, height
