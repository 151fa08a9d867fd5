"""Which images a teacher is sure enough of, and what a training takes of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classification.tuned_scores import Probabilities

Samples = Sequence[tuple[Path, int]]


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """places: (m,) among the images that were asked about, ascending; labels: (m,) likeliest
    classes; targets: (m, K), what the teacher said; confidence: (m,), of the likeliest class."""

    places: npt.NDArray[np.intp]
    labels: npt.NDArray[np.int64]
    targets: Probabilities
    confidence: npt.NDArray[np.float32]


def admit(
    probabilities: Probabilities, *, threshold: float | None = None, quantile: float | None = None
) -> Admitted:
    """The images whose likeliest class has at least a fixed probability, or at least the quantile
    of those of all images of the same likeliest class. Lee 2013; Sohn et al. 2020, section 2.2.

    probabilities: (n, K), rows that sum to 1. Of equal ones the first class is taken. Exactly one
    of threshold and quantile is given.
    """
    assert (threshold is None) != (quantile is None), "one way to admit"
    prediction = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(prediction)), prediction].astype(np.float32)
    if threshold is not None:
        # In float32, as they are: 0.9 there is a little less than 0.9.
        sure = confidence >= np.float32(threshold)
    else:
        assert quantile is not None
        sure = np.zeros(len(prediction), bool)
        for label in np.unique(prediction):
            (of_class,) = np.nonzero(prediction == label)
            least = np.quantile(confidence[of_class].astype(np.float64), quantile)
            sure[of_class] = confidence[of_class] >= least
    (places,) = np.nonzero(sure)
    return Admitted(
        places=places,
        labels=prediction[places].astype(np.int64),
        targets=np.asarray(probabilities[places], np.float32),
        confidence=confidence[places],
    )


@dataclass(frozen=True, kw_only=True)
class PseudoImages:
    """What a training takes beside its labelled images. samples: m files under their likeliest
    classes; targets: (m, K) instead of these, or None; of_batch: how many of each batch they are.
    """

    samples: Samples
    targets: Probabilities | None
    of_batch: int


@dataclass(frozen=True, kw_only=True)
class PseudoRound:
    """What a teacher said of the n unlabelled images, (n,) each: prediction, a place in the
    classes; confidence, its probability; admitted: whether the next training took it."""

    prediction: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    admitted: npt.NDArray[np.bool_]

    @staticmethod
    def of(probabilities: Probabilities, admitted: Admitted) -> PseudoRound:
        prediction = probabilities.argmax(axis=1)
        taken = np.zeros(len(prediction), bool)
        taken[admitted.places] = True
        return PseudoRound(
            prediction=prediction.astype(np.int32),
            confidence=probabilities[np.arange(len(prediction)), prediction].astype(np.float32),
            admitted=taken,
        )


def leaks(unlabelled: Iterable[Path], guarded: Iterable[Path]) -> list[Path]:
    """The unlabelled images that are one of the guarded ones, by path, through links too, or by
    content."""
    paths: set[str] = set()
    sizes: dict[int, list[str]] = {}
    for path in guarded:
        real = os.path.realpath(path)
        paths.add(real)
        sizes.setdefault(os.stat(real).st_size, []).append(real)
    contents: dict[int, set[bytes]] = {}
    found = []
    for path in unlabelled:
        real = os.path.realpath(path)
        size = os.stat(real).st_size
        if real not in paths and size not in sizes:
            continue
        if size not in contents:
            contents[size] = {_digest(known) for known in sizes.get(size, ())}
        if real in paths or _digest(real) in contents[size]:
            found.append(path)
    return found


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
