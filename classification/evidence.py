"""What a classifier's test leaves: each image's answer, and pictures of the worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.evidence import Evidence

MISTAKES = 12
"""Pictures of a kind: the most confident mistakes, the images whose label got the least."""

PICTURE_SIDE = 128
"""The longer one of a picture, in pixels."""
_PICTURE = "mistake/"
_ROUNDING = 1e-6  # of a softmax in float32


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier said of n images, all (n,).

    label, prediction: int32, places in the list of classes. confidence: float32, softmax of the
    prediction; label_confidence: of the label. label_rank: int32, how many classes got more than
    the label: 0 is right, below 5 is in the top 5.
    """

    label: npt.NDArray[np.int32]
    prediction: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    label_confidence: npt.NDArray[np.float32]
    label_rank: npt.NDArray[np.int32]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.prediction == self.label
        return found


def confident_mistakes(answers: Answers) -> npt.NDArray[np.intp]:
    """Places of the wrong answers with the highest confidence, the highest first."""
    (wrong,) = np.nonzero(~answers.right)
    return wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:MISTAKES]


def hardest_images(answers: Answers) -> npt.NDArray[np.intp]:
    """Places of the images whose label got the least probability, the least first."""
    return np.argsort(answers.label_confidence, kind="stable")[:MISTAKES]


def unsure_images(answers: Answers) -> npt.NDArray[np.intp]:
    """Places of the images whose prediction got the least probability, the least first."""
    return np.argsort(answers.confidence, kind="stable")[:MISTAKES]


def classification_evidence(
    answers: Answers,
    *,
    classes: tuple[str, ...],
    samples: Sequence[tuple[Path, int]],
    task: str = "classification",
    folder: Path | None = None,
    more: Sequence[int] = (),
) -> Evidence:
    """samples: the files of the images and their labels, in the order of the answers. The images
    are named by `<class>/<file>`, or by their paths below `folder`. more: places of
    images whose pictures are kept, too.

    Raises DataError where one of the pictures cannot be read.
    """
    from benchmarks.sample_pictures import sample_picture  # which loads OpenCV

    paths = [path for path, _ in samples]
    assert len(paths) == len(answers.label), "an answer for each image"
    worst = [*confident_mistakes(answers), *hardest_images(answers), *more]
    places = sorted({int(at) for at in worst})
    return Evidence(
        task=task,
        classes=classes,
        images=tuple(
            f"{path.parent.name}/{path.name}" if folder is None else str(path.relative_to(folder))
            for path in paths
        ),
        arrays={field.name: getattr(answers, field.name) for field in fields(answers)},
        pictures={
            f"{_PICTURE}{at}": sample_picture(paths[at], longest=PICTURE_SIDE) for at in places
        },
    )


def answers_in(evidence: Evidence) -> Answers:
    """Raises ValueError where the evidence is not of a classification, whole and in its ranges."""
    names = [field.name for field in fields(Answers)]
    if missing := [name for name in names if name not in evidence.arrays]:
        raise ValueError(f"its evidence lacks {', '.join(missing)}")
    label = evidence.arrays["label"]
    for name in names:
        array = evidence.arrays[name]
        if array.shape != label.shape or array.shape != (len(evidence.images),) or not array.size:
            raise ValueError(f"{name} of its evidence is not one value for each image")
        is_share = "confidence" in name
        if array.dtype.kind != ("f" if is_share else "i"):
            raise ValueError(f"{name} of its evidence holds {array.dtype}")
        highest = 1 + _ROUNDING if is_share else len(evidence.classes) - 1
        # "not" on the outside: a NaN fails every comparison.
        if not (array.min() >= 0 and array.max() <= highest):
            raise ValueError(f"{name} of its evidence lies outside 0..{highest:g}")
    arrays: dict[str, Any] = {name: evidence.arrays[name] for name in names}
    return Answers(**arrays)


def picture_of(evidence: Evidence, place: int) -> bytes | None:
    """The JPEG of an image, where one was kept."""
    return evidence.pictures.get(f"{_PICTURE}{place}")
