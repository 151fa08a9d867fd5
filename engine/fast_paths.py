"""The one switch for everything that is done a faster way than the plain one.

TRICKLE_REFERENCE=all            the plain way everywhere
TRICKLE_REFERENCE=NAME[,NAME]    the plain way for these; the names are the keys of FAST_PATHS

Both ways agree within the tolerance that is written beside the name; docs/performance.md says what
each gains. The variable reaches the processes of all jobs, and a record's protocol names what was
switched off. No torch is imported here.
"""

from __future__ import annotations

import os
from functools import lru_cache

VARIABLE = "TRICKLE_REFERENCE"

FAST_PATHS: dict[str, str] = {
    "channels_last": "images and weights lie as (B, H, W, C); the same sums in another order: "
    "a step's loss differs by at most 1e-3 of it",
    "coco_ap": "COCO's average precision by hotcoco, not pycocotools; the same bits",
    "confusion": "pixels are counted by pairs of labels, not three times over; the same bits",
    "fused_optimizer": "one kernel moves all weights; they differ by at most 1e-6 of themselves "
    "a step",
    "half": "half precision where it was measured to pay; a step's loss differs by at most 3%",
    "jpeg_region": "only the part of a JPEG that a crop needs is decoded; the same bits",
    "kept_memory": "the C library keeps what a step frees for the next one; the same bits",
    "normalization": "one multiplication and addition per value of a batch; 1e-6 of a standard "
    "deviation",
    "prefetch": "the next batch goes to the GPU while this one is computed; the same bits",
    "resize": "pretraining's images are resized by vector instructions, not by Pillow: bilinear "
    "within 1 level of 255, but for 1 of 10,000 values of noise (by 2); bicubic within 2, but for "
    "1 of 10,000 values of crops of photographs (by 10 at most) and 1 of 200 of noise (by 25)",
    "sparse_roi_align": "RoIAlign on the CPU as a sparse matrix, its gradient the transposed; 1e-5",
    "test_batches": "test images of one size are computed together; scores of detections and "
    "pixels differ by at most 1e-5",
    "unread_losses": "losses stay where they were computed until a line is logged; the same bits",
    "voc_ap": "VOC's average precision of all classes at once, not image by image; the same bits",
}
"""What each does and how far its results may lie from the plain way's."""


def is_fast(name: str) -> bool:
    """Whether the faster way is to be taken; ValueError for a name nobody knows in the variable."""
    assert name in FAST_PATHS, name
    return name not in switched_off()


def switched_off() -> tuple[str, ...]:
    """The names whose plain way was asked for, sorted."""
    return _named(os.environ.get(VARIABLE, ""))


@lru_cache(maxsize=1)  # it is asked for each image
def _named(text: str) -> tuple[str, ...]:
    asked = {name.strip() for name in text.split(",")} - {""}
    if unknown := sorted(asked - set(FAST_PATHS) - {"all"}):
        raise ValueError(
            f"{VARIABLE} names {', '.join(unknown)}; known are all, {', '.join(sorted(FAST_PATHS))}"
        )
    return tuple(sorted(FAST_PATHS if "all" in asked else asked))
