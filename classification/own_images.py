"""What a fine-tuning leaves of one's own images: its answers, and what may be wrong with the data.

Beside the arrays of `classification.evidence` the evidence holds the facts of each tested image
(`image_<fact>`, see benchmarks/image_facts.py) and `findings`, the JSON of `ImageFindings`: what a
page shows of the files without reading one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from classification.evidence import (
    MISTAKES,
    PICTURE_SIDE,
    Answers,
    classification_evidence,
    unsure_images,
)
from classification.label_errors import find_label_errors
from engine.evidence import Evidence

if TYPE_CHECKING:
    from benchmarks.near_duplicates import NearDuplicates

Tested = Literal["test", "validation", "out-of-fold"]
"""What was answered: images of the test split, of the hold-out, or of several folds each by those
models that did not see it, which saw the others."""

SLICED = ("width", "height", "aspect_ratio", "brightness", "contrast")
MOST_PAIRS = 500
MOST_LABEL_ERRORS = 500
MOST_UNUSABLE = 200
_FACT, _FINDINGS = "image_", "findings"
_KEPT_FACTS = ("width", "height", "brightness", "contrast", "hash")

Samples = Sequence[tuple[Path, int]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Images and what models that did not see them say: samples of n, probabilities (n, K)."""

    samples: Samples
    probabilities: npt.NDArray[np.floating]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class OwnImage(_Model):
    """name: its path below the folder of the data. label: its class. tested: or only trained on."""

    name: str
    label: str
    tested: bool


class DuplicatePair(_Model):
    """distance: bits of 64 that the two hashes differ in; -1 where the bytes are the same."""

    first: OwnImage
    second: OwnImage
    distance: int = Field(ge=-1, le=64)

    @property
    def leaks(self) -> bool:
        """One was tested, the other only trained on. Of several folds there are more: two tested
        ones that were not held out together."""
        return self.first.tested != self.second.tested


class LikelyLabelError(_Model):
    """likely: the class that the image likely is of. probability: of its label; margin: minus the
    largest of another class, below 0."""

    image: OwnImage
    likely: str
    probability: float = Field(ge=0, le=1)
    margin: float = Field(ge=-1, le=0)


class UnusableImage(_Model):
    name: str
    reason: str


class ImageFindings(_Model):
    """pairs: leaks first, then the nearest, at most 500; n_pairs, n_leaks: of all that were found.
    n_tested, n_others: images that were compared, tested ones and those only trained on.
    label_errors: the likeliest first, at most 500 of n_label_errors, of n_judged images.
    unusable: files that were left out or could not be read, at most 200 of n_unusable."""

    tested: Tested
    n_tested: int = Field(ge=0)
    n_others: int = Field(ge=0)
    pairs: tuple[DuplicatePair, ...] = ()
    n_pairs: int = Field(default=0, ge=0)
    n_leaks: int = Field(default=0, ge=0)
    label_errors: tuple[LikelyLabelError, ...] = ()
    n_label_errors: int = Field(default=0, ge=0)
    n_judged: int = Field(default=0, ge=0)
    unusable: tuple[UnusableImage, ...] = ()
    n_unusable: int = Field(default=0, ge=0)


def finetune_evidence(
    answers: Answers,
    *,
    classes: tuple[str, ...],
    tested: Samples,
    others: Samples,
    judged: Sequence[Judged],
    folder: Path,
    kind: Tested,
    left_out: Collection[str] = (),
) -> Evidence:
    """answers: of the `tested` images, in their order. others: the images that were trained on and
    are not among the tested ones. judged: whose labels are doubted; some or all of both.

    folder: what the names of images start at. left_out: unusable images, below the folder, that
    were tolerated. Reads every image once. Raises DataError where one that is to be shown cannot
    be read, ValueError where labels and probabilities do not fit.
    """
    from benchmarks.image_facts import image_facts  # which load OpenCV
    from benchmarks.near_duplicates import near_duplicates

    samples = [*tested, *others]
    paths = [path for path, _ in samples]
    facts = image_facts(paths)
    images = [
        OwnImage(name=_name(path, folder), label=classes[label], tested=at < len(tested))
        for at, (path, label) in enumerate(samples)
    ]
    errors = _label_errors(judged, dict(zip(paths, images, strict=True)), classes)
    unusable = [(name, folder / name) for name in sorted(left_out)]
    unusable += [(images[at].name, paths[at]) for at in np.nonzero(facts["width"] == 0)[0]]
    pairs = _leaks_first(near_duplicates(facts), len(tested))
    findings = ImageFindings(
        tested=kind,
        n_tested=len(tested),
        n_others=len(others),
        pairs=_first_pairs(pairs, images),
        n_pairs=len(pairs.first),
        n_leaks=int(_leaks(pairs, len(tested)).sum()),
        label_errors=tuple(error for _, error in errors[:MOST_LABEL_ERRORS]),
        n_label_errors=len(errors),
        n_judged=sum(len(each.samples) for each in judged),
        unusable=tuple(
            UnusableImage(name=name, reason=_reason(path))
            for name, path in unusable[:MOST_UNUSABLE]
        ),
        n_unusable=len(unusable),
    )
    evidence = classification_evidence(
        answers,
        classes=classes,
        samples=tested,
        task="finetune",
        more=unsure_images(answers).tolist(),
    )
    return replace(
        evidence,
        images=tuple(image.name for image in images[: len(tested)]),
        arrays={
            **evidence.arrays,
            **{f"{_FACT}{name}": facts[name][: len(tested)] for name in _KEPT_FACTS},
            _FINDINGS: np.frombuffer(findings.model_dump_json().encode(), np.uint8),
        },
        pictures={**evidence.pictures, **_pictures(errors, pairs, paths)},
    )


def sliced_facts(evidence: Evidence) -> dict[str, npt.NDArray[np.float64]]:
    """What tested images are divided by, (n,) each, NaN where an image could not be read; empty
    where it was not kept. Raises ValueError where it is not one number for each image."""
    kept = {}
    for name in _KEPT_FACTS[:4]:
        array = evidence.arrays.get(f"{_FACT}{name}")
        if array is None:
            return {}
        if array.shape != (len(evidence.images),) or array.dtype.kind not in "if":
            raise ValueError(f"{_FACT}{name} of its evidence is not one number for each image")
        kept[name] = array.astype(np.float64)
    known = (kept["width"] > 0) & (kept["height"] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept["aspect_ratio"] = kept["width"] / kept["height"]
    return {name: np.where(known, kept[name], np.nan) for name in SLICED}


def findings_in(evidence: Evidence) -> ImageFindings | None:
    """None where there are none. Raises ValueError where they cannot be read."""
    array: npt.NDArray[Any] | None = evidence.arrays.get(_FINDINGS)
    if array is None:
        return None
    try:
        return ImageFindings.model_validate_json(array.tobytes())
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ValueError(f"the findings of its evidence cannot be read: {problem}") from error


def pair_pictures(evidence: Evidence, number: int) -> tuple[bytes, bytes] | None:
    """The JPEGs of a pair of `ImageFindings.pairs`, where they were kept."""
    found = [evidence.pictures.get(_pair_picture(number, side)) for side in (0, 1)]
    first, second = found
    return None if first is None or second is None else (first, second)


def error_picture(evidence: Evidence, number: int) -> bytes | None:
    """The JPEG of an image of `ImageFindings.label_errors`, where it was kept."""
    return evidence.pictures.get(_error_picture(number))


def _error_picture(number: int) -> str:
    return f"label_error/{number}"


def _pair_picture(number: int, side: int) -> str:
    return f"duplicate/{number}/{side}"


def _label_errors(
    judged: Sequence[Judged], images: Mapping[Path, OwnImage], classes: tuple[str, ...]
) -> list[tuple[Path, LikelyLabelError]]:
    """Of each set by its own probabilities; all together, the likeliest first."""
    errors = []
    for each in judged:
        label = np.array([label for _, label in each.samples], np.intp)
        found = find_label_errors(label, each.probabilities)
        for at, likely, margin in zip(found.place, found.suggested, found.margin, strict=True):
            path, own = each.samples[at][0], float(each.probabilities[at, label[at]])
            error = LikelyLabelError(
                image=images[path],
                likely=classes[likely],
                probability=min(1.0, max(0.0, own)),  # float32 may be a little beyond
                margin=max(-1.0, float(margin)),
            )
            errors.append((path, error))
    return sorted(errors, key=lambda error: error[1].margin)


def _leaks(pairs: NearDuplicates, tested: int) -> npt.NDArray[np.bool_]:
    """(m,) The `tested` images come first, and of a pair the first place is below the second."""
    return (pairs.first < tested) & (pairs.second >= tested)


def _leaks_first(pairs: NearDuplicates, tested: int) -> NearDuplicates:
    order = np.argsort(~_leaks(pairs, tested), kind="stable")
    return replace(
        pairs,
        first=pairs.first[order],
        second=pairs.second[order],
        distance=pairs.distance[order],
    )


def _first_pairs(pairs: NearDuplicates, images: Sequence[OwnImage]) -> tuple[DuplicatePair, ...]:
    columns = (pairs.first, pairs.second, pairs.distance)
    return tuple(
        DuplicatePair(first=images[first], second=images[second], distance=distance)
        for first, second, distance in zip(*(c[:MOST_PAIRS].tolist() for c in columns), strict=True)
    )


def _pictures(
    errors: Sequence[tuple[Path, LikelyLabelError]], pairs: NearDuplicates, paths: Sequence[Path]
) -> dict[str, bytes]:
    """The JPEGs of the first label errors and the first pairs. pairs: places among the paths."""
    from benchmarks.sample_pictures import sample_picture

    shown = {_error_picture(number): path for number, (path, _) in enumerate(errors[:MISTAKES])}
    for side, places in enumerate((pairs.first, pairs.second)):
        for number, at in enumerate(places[:MISTAKES]):
            shown[_pair_picture(number, side)] = paths[at]
    return {name: sample_picture(path, longest=PICTURE_SIDE) for name, path in shown.items()}


def _name(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _reason(path: Path) -> str:
    from benchmarks.errors import DataError
    from benchmarks.pixels import read_bgr

    try:
        read_bgr(path)
    except DataError as error:
        return str(error).replace(str(path), path.name)
    return "left out by the check of the data"
