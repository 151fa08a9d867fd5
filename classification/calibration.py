"""How far a classifier's confidence can be believed: the softmax of its prediction against how
often it is right (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).

In everything below, confidence is (n,) in [0, 1] and right is (n,) bool; n is at least 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15
"""As in Guo et al., and in most papers since."""

_SMALLEST = float(np.finfo(np.float32).tiny)
_MEAN_OF_HALF_NORMAL = math.sqrt(2 / math.pi)

Numbers = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """A reliability diagram: for each of M bins of equal width over [0, 1], each without its lower
    and with its upper edge, what fell into it. A confidence of 0 falls into the first.

    count: (M,) images. accuracy, confidence: (M,) means in [0, 1], NaN where nothing fell.
    variance: (M,) of the number of right answers among them, were each as likely as its confidence.
    """

    count: npt.NDArray[np.int64]
    accuracy: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]


def reliability(confidence: Numbers, right: Flags, *, bins: int = BINS) -> Reliability:
    """Guo et al., section 2, "Reliability Diagrams": their acc(B_m) and conf(B_m)."""
    p = np.asarray(confidence, np.float64)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    place = np.searchsorted(inner, p, side="left")
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        return Reliability(
            count=count,
            accuracy=np.bincount(place, weights=right, minlength=bins) / count,
            confidence=np.bincount(place, weights=p, minlength=bins) / count,
            variance=np.bincount(place, weights=p * (1 - p), minlength=bins).astype(np.float64),
        )


def expected_calibration_error(diagram: Reliability) -> float:
    """Guo et al., eq. 3, in percent: how far accuracy and confidence lie apart within a bin, on
    the mean over the images. 0 is best; with few images it is above 0 by chance alone, see
    `error_by_chance`."""
    gap = np.abs(diagram.accuracy - diagram.confidence)
    return 100 * float(np.nansum(diagram.count * gap) / diagram.count.sum())


def error_by_chance(diagram: Reliability) -> float:
    """About the expected calibration error, in percent, that a perfectly calibrated classifier
    would show on as many images with the same confidences.

    The gap of a bin is then normal around 0, as far as the bin is full enough, and the mean of its
    absolute value is sqrt(2 / pi) of its standard deviation.
    """
    deviation = np.sqrt(diagram.variance)
    return float(100 * _MEAN_OF_HALF_NORMAL * deviation.sum() / diagram.count.sum())


def brier_score(confidence: Numbers, right: Flags) -> float:
    """Mean square of confidence minus right (Brier 1950, of the event that the prediction is
    right): 0 is best, 1 is worst."""
    p = np.asarray(confidence, np.float64)
    return float(np.mean((p - right) ** 2))


def negative_log_likelihood(label_confidence: Numbers) -> float:
    """Guo et al., eq. 2, mean over the images, in nats. label_confidence: (n,) softmax of the
    label; what float32 rounds to 0 counts as its smallest normal number, 87 nats."""
    p = np.asarray(label_confidence, np.float64)
    return float(-np.mean(np.log(np.maximum(p, _SMALLEST)))) + 0.0  # no "-0.0"


def bias(confidence: Numbers, right: Flags) -> tuple[float, float]:
    """Mean confidence minus accuracy in percent, above 0 for over-confidence, and how many standard
    deviations that is from what a perfectly calibrated classifier would show; 0 where it has none.
    """
    p = np.asarray(confidence, np.float64)
    gap = float(np.mean(p - right))
    deviation = float(np.sqrt(np.sum(p * (1 - p)))) / len(p)
    return 100 * gap, gap / deviation if deviation else 0.0
