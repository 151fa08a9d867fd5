"""What a fine-tuning with pseudo-labels leaves for a page: what was admitted, and with what it is
compared. `pseudo_labels` is the JSON of `PseudoFindings`, `labelled_only/...` round 0's answers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from classification.evidence import PICTURE_SIDE, Answers
from classification.pseudo_labels import PseudoRound
from classification.tricks.pseudo_labels import PseudoLabels
from engine.evidence import Evidence

_FINDINGS, _LABELLED_ONLY, _PICTURE = "pseudo_labels", "labelled_only/", "pseudo_label/"
MOST_CLASSES = 12
"""Whose surest and least sure images are kept as pictures: those with the most images."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AdmittedImages(_Model):
    """Of one round, one class or all. known: of how many the true class is known, in hindsight;
    right: how many of these are of it."""

    count: int = Field(ge=0)
    confidence: float | None = Field(default=None, ge=0, le=1.001)
    known: int = Field(default=0, ge=0)
    right: int = Field(default=0, ge=0)


class RoundFindings(_Model):
    """Of the n unlabelled images that were asked about for a round of a fold, from 1."""

    fold: int = Field(ge=1)
    round: int = Field(ge=1)
    n: int = Field(ge=0)
    admitted: AdmittedImages
    by_class: dict[str, AdmittedImages] = {}


class ShownImage(_Model):
    """truth: its class, where it is known."""

    name: str
    label: str
    confidence: float = Field(ge=0, le=1.001)
    truth: str | None = None
    which: Literal["most", "least"]


class PseudoFindings(_Model):
    """admits: which images are taken, in words; labels: hard or soft; share: of each batch.
    shown: of the first fold's last round that admitted some; the pictures are in their order."""

    admits: str
    labels: str
    share: float
    rounds: tuple[RoundFindings, ...]
    shown: tuple[ShownImage, ...] = ()


def with_pseudo_labels(
    evidence: Evidence,
    labelled_only: Answers,
    *,
    folds: Sequence[tuple[Sequence[Path], Sequence[PseudoRound]]],
    truth: Mapping[Path, int],
    folder: Path,
    trick: PseudoLabels,
) -> Evidence:
    """labelled_only: what round 0 says of the evidence's images. folds: of each the unlabelled
    images, and what was said of them for each round. truth: the class of those where it is known;
    nothing was learnt from it. folder: what the names of images start at.

    Raises DataError where an image that is to be shown cannot be read.
    """
    from benchmarks.sample_pictures import sample_picture  # which loads OpenCV

    rounds, shown = [], list[tuple[Path, ShownImage]]()
    for fold, (paths, found) in enumerate(folds, 1):
        known = np.array([truth.get(path, -1) for path in paths], np.int64)
        for number, each in enumerate(found, 1):
            rounds.append(_round(fold, number, each, known, evidence.classes))
        if not shown:
            taken = [each for each in found if each.admitted.any()]
            shown = list(_shown(paths, taken[-1], known, evidence.classes, folder)) if taken else []
    findings = PseudoFindings(
        admits=trick.admits,
        labels=trick.labels,
        share=trick.share,
        rounds=tuple(rounds),
        shown=tuple(image for _, image in shown),
    )
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{_LABELLED_ONLY}{field.name}": getattr(labelled_only, field.name)
        for field in fields(Answers)
    }
    arrays[_FINDINGS] = np.frombuffer(findings.model_dump_json().encode(), np.uint8)
    pictures = {
        f"{_PICTURE}{place}": sample_picture(path, longest=PICTURE_SIDE)
        for place, (path, _) in enumerate(shown)
    }
    return replace(
        evidence,
        arrays={**evidence.arrays, **arrays},
        pictures={**evidence.pictures, **pictures},
    )


def labelled_only_in(evidence: Evidence) -> Evidence | None:
    """Round 0's evidence, in the arrays of a plain one; None where there was none."""
    found = {
        name.removeprefix(_LABELLED_ONLY): array
        for name, array in evidence.arrays.items()
        if name.startswith(_LABELLED_ONLY)
    }
    return replace(evidence, arrays={**evidence.arrays, **found}) if found else None


def pseudo_findings_in(evidence: Evidence) -> PseudoFindings | None:
    """None where there are none. Raises ValueError where they cannot be read."""
    array: npt.NDArray[Any] | None = evidence.arrays.get(_FINDINGS)
    if array is None:
        return None
    try:
        return PseudoFindings.model_validate_json(array.tobytes())
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ValueError(f"the pseudo-labels of its evidence cannot be read: {problem}") from error


def pseudo_picture(evidence: Evidence, number: int) -> bytes | None:
    """The JPEG of an image of `PseudoFindings.shown`, where it was kept."""
    return evidence.pictures.get(f"{_PICTURE}{number}")


def _round(
    fold: int,
    number: int,
    said: PseudoRound,
    known: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> RoundFindings:
    return RoundFindings(
        fold=fold,
        round=number,
        n=len(said.admitted),
        admitted=_counted(said, said.admitted, known),
        by_class={
            name: _counted(said, said.admitted & (said.prediction == label), known)
            for label, name in enumerate(classes)
        },
    )


def _counted(
    said: PseudoRound, of: npt.NDArray[np.bool_], known: npt.NDArray[np.int64]
) -> AdmittedImages:
    asked = of & (known >= 0)
    return AdmittedImages(
        count=int(of.sum()),
        confidence=float(said.confidence[of].mean()) if of.any() else None,
        known=int(asked.sum()),
        right=int((asked & (said.prediction == known)).sum()),
    )


def _shown(
    paths: Sequence[Path],
    said: PseudoRound,
    known: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    folder: Path,
) -> Iterator[tuple[Path, ShownImage]]:
    """The surest and the least sure image of each class, of one image alone that one."""
    (taken,) = np.nonzero(said.admitted)
    most = Counter(said.prediction[taken].tolist()).most_common(MOST_CLASSES)
    for label in sorted(label for label, _ in most):
        of_class = taken[said.prediction[taken] == label]
        order = of_class[np.argsort(-said.confidence[of_class], kind="stable")]
        ends = [("most", order[0]), ("least", order[-1])][: len(order)]
        for which, at in ends:
            image = ShownImage(
                name=Path(os.path.relpath(paths[at], folder)).as_posix(),
                label=classes[label],
                confidence=float(said.confidence[at]),
                truth=classes[known[at]] if known[at] >= 0 else None,
                which=which,
            )
            yield paths[at], image
