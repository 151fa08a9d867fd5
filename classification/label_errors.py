"""Which labels are likely wrong: confident learning (Northcutt et al. 2021, arXiv:1911.00068)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-6  # of a softmax in float32


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """m images whose label is likely wrong, the most likely first; all (m,).

    place: of the image among those that were given. suggested: of the classes that get more than
    the label a likely one, of several that of the largest probability.
    margin: probability of the label minus the largest of another class, -1..0; the paper's
    normalized margin, by which they are ranked.
    """

    place: npt.NDArray[np.intp]
    suggested: npt.NDArray[np.intp]
    margin: npt.NDArray[np.float64]


def find_label_errors(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> LabelErrors:
    """labels: (n,), each a column. probabilities: (n, K), of a model that did not see the image.

    A class is likely where it gets at least the mean probability that its own images give it (of
    several such classes, the one of the largest: equation 1 of the paper). An image that is likely
    of another class than its label says is off the diagonal of the confident joint, and found;
    not, as in cleanlab, where the label has the largest probability of all the same.

    Raises ValueError where the two do not fit together or hold no probabilities.
    """
    label, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    if p.ndim != 2 or label.shape != p.shape[:1] or label.dtype.kind not in "iu":
        raise ValueError(
            f"labels of the shape {label.shape} ({label.dtype}) and probabilities of {p.shape}: "
            "expected n whole numbers and (n, K)"
        )
    n, classes = p.shape
    if not n or classes < 2:
        none = np.zeros(0, np.intp)
        return LabelErrors(place=none, suggested=none, margin=np.zeros(0))
    if not (p.min() >= -_ROUNDING and p.max() <= 1 + _ROUNDING):  # a NaN fails both
        raise ValueError(f"probabilities lie in 0..1, not {p.min():g}..{p.max():g}")
    if label.min() < 0 or label.max() >= classes:
        raise ValueError(f"labels lie in 0..{classes - 1}, not {label.min()}..{label.max()}")
    own = p[np.arange(n), label]
    count = np.bincount(label, minlength=classes)
    total = np.bincount(label, weights=own, minlength=classes)
    # No image is likely of a class that no label names.
    threshold = np.where(count > 0, total / np.maximum(count, 1), np.inf)
    likely = p >= threshold - _ROUNDING
    of_joint = np.where(likely, p, -1).argmax(axis=1)
    others = p.copy()
    others[np.arange(n), label] = -1
    margin = own - others.max(axis=1)
    (found,) = np.nonzero(likely.any(axis=1) & (of_joint != label) & (margin < 0))
    place = found[np.argsort(margin[found], kind="stable")]
    # Likely is a class by its own threshold, so that it may get less than the label.
    better = p > own[:, None]
    suggested = (p + better + 2 * (better & likely)).argmax(axis=1)
    return LabelErrors(place=place, suggested=suggested[place], margin=margin[place])
