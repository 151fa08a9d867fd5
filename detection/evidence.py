"""What a detector found and what was there, as evidence beside its result, and back.

Arrays, of d detections and m objects in n images: `image` (d,), `box` (d, 4), `score` (d,),
`label` (d,); `truth_image` (m,), `truth_box` (m, 4), `truth_label` (m,), `truth_difficult` (m,);
`size` (n, 2) height and width. Boxes are x1, y1, x2, y2 in pixels of the original image. Pictures:
`sample/<place>`, a JPEG of the image of that place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detection.scored_image import ScoredImage, Stacked, stack
from engine.evidence import Evidence

_SHAPES: dict[str, tuple[int, ...]] = {
    "image": (),
    "box": (4,),
    "score": (),
    "label": (),
    "truth_image": (),
    "truth_box": (4,),
    "truth_label": (),
    "truth_difficult": (),
}


@dataclass(frozen=True, kw_only=True)
class TestedImage:
    """path: of its file."""

    path: str
    scored: ScoredImage


def detection_evidence(
    tested: Sequence[TestedImage], *, classes: Sequence[str], root: Path
) -> Evidence:
    """Of the images of a test, in their order: exactly what was scored. root: of the data set."""
    from benchmarks.sample_pictures import names_below, sample_picture, sample_places

    rows = stack([image.scored for image in tested])
    names = names_below(root, [image.path for image in tested])
    return Evidence(
        task="detection",
        classes=tuple(classes),
        images=names,
        arrays={
            "image": rows.image.astype(np.int32),
            "box": rows.boxes.astype(np.float32),
            "score": rows.scores.astype(np.float32),
            "label": rows.labels.astype(np.int32),
            "truth_image": rows.truth_image.astype(np.int32),
            "truth_box": rows.truth.astype(np.float32),
            "truth_label": rows.truth_labels.astype(np.int32),
            "truth_difficult": rows.difficult.astype(np.uint8),
            "size": np.array([image.scored.size for image in tested], np.int32),
        },
        pictures={
            f"sample/{place}": sample_picture(Path(tested[place].path))
            for place in sample_places(names)
        },
    )


def stacked(evidence: Evidence) -> Stacked:
    """The detections and objects of evidence as the scores take them.

    Raises ValueError where something is missing, or does not fit the rest.
    """
    found = {}
    for name, shape in _SHAPES.items():
        array = evidence.arrays.get(name)
        if array is None or array.shape[1:] != shape:
            raise ValueError(f"the evidence has no {name} of shape (rows, {shape})")
        if not np.isfinite(array).all():
            raise ValueError(f"the evidence's {name} holds what is no number")
        found[name] = array
    for part in ("", "truth_"):
        rows = [array for name, array in found.items() if name.startswith("truth_") == bool(part)]
        if len({len(array) for array in rows}) > 1:
            raise ValueError("the evidence's columns have different lengths")
        for name, limit in ((f"{part}image", evidence.images), (f"{part}label", evidence.classes)):
            numbers = found[name]
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(limit):
                raise ValueError(f"the evidence's {name} is not within 0..{len(limit) - 1}")
    return Stacked(
        boxes=found["box"],
        scores=found["score"],
        labels=found["label"].astype(np.int64),
        truth=found["truth_box"],
        truth_labels=found["truth_label"].astype(np.int64),
        difficult=found["truth_difficult"].astype(bool),
        image=found["image"].astype(np.int64),
        truth_image=found["truth_image"].astype(np.int64),
    )
