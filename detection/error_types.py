"""What a detector does wrong, in the manner of TIDE (Bolya et al. 2020, arXiv:2008.08115).

Each wrong detection is of one type, and each object that nothing finds is missed unless mending a
detection would find it. What a type costs is the rise of mAP if it alone were mended. Right and
wrong are as in detection/voc_average_precision.py, so that the costs stand on the scale of the
benchmark's own mAP; objects that are difficult are as if they were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from detection.scored_image import Stacked
from detection.voc_average_precision import Judged, greatest, overlaps, pairs

FOREGROUND, BACKGROUND = 0.5, 0.1
"""TIDE's tf and tb: at least this IoU is on an object, at most this one is on none."""

TYPES = {
    "classification": "on an object of another class",
    "localisation": "of the right class, but too far off",
    "both": "of another class, and too far off",
    "duplicate": "on an object that a better scored one has found",
    "background": "on nothing",
    "missed": "objects that no detection is near",
}
"""By how they are told apart; the first that fits a detection, in the order localisation,
classification, duplicate, background, both."""


@dataclass(frozen=True, kw_only=True)
class ErrorTypes:
    """mAP: percent, None where no class has objects. gains: points of mAP by TYPES, if it alone
    were mended. counts: wrong detections by TYPES; of "missed", objects. false_positives,
    false_negatives: points of mAP, if no detection were wrong, and if all not found did not count.
    """

    mean: float | None
    gains: Mapping[str, float]
    counts: Mapping[str, int]
    false_positives: float
    false_negatives: float


def error_types(rows: Stacked, judged: Judged, *, metric: str) -> ErrorTypes:
    """judged: the same rows. metric: a name of VOC_MODES.

    Classification errors are mended by taking the object's class, localisation errors by taking
    its box, if it is the best scored of all that could be mended on an object that is not found;
    the others, and all duplicates and those on background, or both, by leaving them out; missed
    objects by not counting them. A class that has no objects left then keeps an AP of 0.
    """
    counted, classes = ~rows.difficult, len(judged.bounds) - 1
    objects = np.bincount(rows.truth_labels[counted], minlength=classes)
    labels, scores = rows.labels[judged.row], rows.scores[judged.row]
    kinds, targets = _kinds(rows, judged)
    unfound = counted.copy()
    unfound[judged.claimed[judged.right]] = False
    mends = _mends(scores, kinds, targets, unfound)
    missed = unfound.copy()
    missed[targets[np.isin(kinds, _MENDABLE)]] = False

    def mean(
        right: np.ndarray, wrong: np.ndarray, bounds: np.ndarray, objects_left: np.ndarray = objects
    ) -> float:
        values = _precisions(right, wrong, bounds, objects_left, metric)
        return float(values.sum()) / max(1, int(np.count_nonzero(objects)))

    before = mean(judged.right, judged.wrong, judged.bounds)
    gains, counts = {}, {}
    for number, name in enumerate(TYPES):
        ours = kinds == number
        right, wrong, bounds = judged.right | (ours & mends), judged.wrong & ~ours, judged.bounds
        left = objects
        counts[name] = int(np.count_nonzero(ours))
        if number == _CLASSIFICATION:
            mended, changed = labels.copy(), ours & mends
            mended[changed] = rows.truth_labels[targets[changed]]
            # Few move, so that a sort that sees what is in order is far quicker than lexsort.
            span = 1.0 + np.ptp(scores) if scores.size else 1.0
            order = np.argsort(mended * span - scores, kind="stable")
            right, wrong = right[order], wrong[order]
            bounds = np.searchsorted(mended[order], np.arange(classes + 1))
        elif number == _MISSED:
            left = objects - np.bincount(rows.truth_labels[missed], minlength=classes)
            counts[name] = int(np.count_nonzero(missed))
        gains[name] = mean(right, wrong, bounds, left) - before
    found = objects - np.bincount(rows.truth_labels[unfound], minlength=classes)
    none = np.zeros_like(judged.wrong)
    return ErrorTypes(
        mean=before if objects.any() else None,
        gains=gains,
        counts=counts,
        false_positives=mean(judged.right, none, judged.bounds) - before,
        false_negatives=mean(judged.right, judged.wrong, judged.bounds, found) - before,
    )


_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(len(TYPES))
_MENDABLE = (_CLASSIFICATION, _LOCALISATION)


def _kinds(rows: Stacked, judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """(d,) each, in the order of `judged`: the number of a wrong detection's type, -1 for others;
    and the object that it is held against, 0 where there is none."""
    kinds, targets = np.full(len(judged.row), -1), np.zeros(len(judged.row), np.intp)
    kinds[judged.row[judged.wrong]] = _BACKGROUND
    wrong = np.flatnonzero(kinds == _BACKGROUND)  # by image, as they were given: quicker to look up
    objects = np.flatnonzero(~rows.difficult)
    objects = objects[np.argsort(rows.truth_image[objects], kind="stable")]
    some, _, owner, partner = pairs(rows.image[wrong], rows.truth_image[objects])
    detections, objects = wrong[some].take(owner), objects.take(partner)
    overlap = overlaps(
        rows.boxes.astype(np.float32, copy=False).take(detections, axis=0),
        rows.truth.astype(np.float32, copy=False).take(objects, axis=0),
    )
    near = np.flatnonzero(overlap >= BACKGROUND)  # few: all others are on nothing
    detections, objects, overlap = detections[near], objects[near], overlap[near]
    if near.size:
        begin = np.flatnonzero(np.diff(detections, prepend=-1))
        owner = np.repeat(np.arange(len(begin)), np.diff(begin, append=len(near)))
        same = rows.labels[detections] == rows.truth_labels[objects]
        own, own_at = greatest(np.where(same, overlap, 0), begin, owner, objects)
        other, other_at = greatest(np.where(same, 0, overlap), begin, owner, objects)
        conditions = [
            (own >= BACKGROUND) & (own < FOREGROUND),
            other >= FOREGROUND,
            own >= FOREGROUND,
            other <= BACKGROUND,
        ]
        order = [_LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND]
        found = np.select(conditions, order, _BOTH)
        kinds[detections[begin]] = found
        targets[detections[begin]] = np.where(found == _CLASSIFICATION, other_at, own_at)
    return kinds[judged.row], targets[judged.row]


def _mends(
    scores: np.ndarray, kinds: np.ndarray, targets: np.ndarray, unfound: np.ndarray
) -> np.ndarray:
    """(d,) bool: which detections would find their object, were they mended: the best scored of
    each object that is not found."""
    mends = np.zeros(len(kinds), bool)
    able = np.flatnonzero(np.isin(kinds, _MENDABLE))
    able = able[unfound[targets[able]]]
    able = able[np.argsort(-scores[able], kind="stable")]
    _, first = np.unique(targets[able], return_index=True)
    mends[able[first]] = True
    return mends


def size_limits(rows: Stacked) -> tuple[float, float] | None:
    """Areas in square pixels that part the objects that count into thirds; None where there are
    none."""
    counted = _areas(rows.truth[~rows.difficult])
    if not counted.size:
        return None
    lower, upper = np.quantile(counted, [1 / 3, 2 / 3])
    return float(lower), float(upper)


def size_precisions(
    rows: Stacked, judged: Judged, *, metric: str, limits: tuple[float, float]
) -> tuple[float | None, ...]:
    """mAP of small, medium and large objects: up to the first limit, up to the second, above.

    After COCO: objects of other sizes are as if difficult, and wrong detections of other sizes do
    not count. None where there is no object of that size.
    """
    edges = (-np.inf, *limits, np.inf)
    classes = len(judged.bounds) - 1
    truth, found = _areas(rows.truth), _areas(rows.boxes)[judged.row]
    means = []
    for least, most in pairwise(edges):
        ours = ~rows.difficult & (truth > least) & (truth <= most)
        on_ours = np.append(ours, True)[judged.claimed]  # the last: on none
        right, wrong = judged.right & on_ours, judged.wrong & on_ours
        wrong &= (found > least) & (found <= most)
        objects = np.bincount(rows.truth_labels[ours], minlength=classes)
        values = _precisions(right, wrong, judged.bounds, objects, metric)[objects > 0]
        means.append(float(values.mean()) if values.size else None)
    return tuple(means)


def _precisions(
    right: np.ndarray, wrong: np.ndarray, bounds: np.ndarray, objects: np.ndarray, metric: str
) -> np.ndarray:
    """(K,) AP in percent, 0 for a class without objects: `voc_average_precision.precisions` in
    double precision and of all classes at once, for what is computed a dozen times a record."""
    classes = len(objects)
    at = np.flatnonzero(right)
    label = np.searchsorted(bounds, at, side="right") - 1
    first = np.searchsorted(at, bounds)
    misses = np.append(0, np.cumsum(wrong))
    hits = np.arange(1, len(at) + 1) - first[label]
    precision = hits / (hits + misses[at] - misses[bounds[label]])
    # The best at this recall or beyond, within the class: each stands above those behind it.
    above = 2.0 * (classes - label)
    envelope = np.maximum.accumulate((precision + above)[::-1])[::-1] - above
    positives = np.maximum(objects, 1)
    if metric == "area":
        area: np.ndarray = 100 * np.bincount(label, envelope, classes) / positives
        return area
    levels = np.arange(0, 1 + 1e-3, 0.1)[:, None]
    needed = np.maximum(np.ceil(levels * positives), 1).astype(int)  # hits to reach that recall
    needed -= (needed > 1) & ((needed - 1) / positives >= levels)
    needed += needed / positives < levels
    reached = needed <= np.diff(first)
    places = np.where(reached, first[:-1] + needed - 1, 0)
    values = np.where(reached, np.append(envelope, 0.0)[places], 0.0)
    return np.where(objects > 0, 100 * values.mean(axis=0), 0.0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    """Of boxes whose corners lie inside."""
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2] + 1
    areas: np.ndarray = sides[:, 0] * sides[:, 1]
    return areas
