"""VOC's average precision at IoU 0.5, over 11 points and as an area, of all classes at once.

The figures are those of MMDetection's eval_map to the last bit: the same float32 and float64, the
same order of equal scores. eval_map itself is the plain way (`voc_ap` of engine/fast_paths.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from detection.scored_image import ScoredImage, Stacked, stack
from engine.fast_paths import is_fast

VOC_MODES = {"voc07_11point": "11points", "area": "area"}
_EPSILON = np.finfo(np.float32).eps


def voc_average_precisions(
    images: Sequence[ScoredImage], num_classes: int
) -> dict[str, list[float | None]]:
    """AP in percent for each class, by the names of VOC_MODES; None for a class without objects.

    Corners are inclusive, and matching is MMDetection's, after the VOC devkit: a detection is held
    against the object that it overlaps most; of those on one object the best scored one is right;
    a difficult object neither counts nor harms.
    """
    if not is_fast("voc_ap"):
        return _by_mmdet(images, num_classes)
    rows = stack(images)
    judged = judge(rows, len(images), num_classes)
    objects = np.bincount(rows.truth_labels[~rows.difficult], minlength=num_classes)
    return precisions(judged.right, judged.wrong, judged.bounds, objects)


def precisions(
    right: np.ndarray, wrong: np.ndarray, bounds: np.ndarray, objects: np.ndarray
) -> dict[str, list[float | None]]:
    """AP in percent for each class, by the names of VOC_MODES; None for one without objects.

    right, wrong: (d,) bool in the order of `Judged`; bounds: (K + 1,) where each class begins;
    objects: (K,) how many there are to be found.
    """
    found: dict[str, list[float | None]] = {name: [] for name in VOC_MODES}
    for label, positives in enumerate(objects.astype(np.float64)):
        ours = slice(bounds[label], bounds[label + 1])
        hits = np.cumsum(right[ours], dtype=np.float32)
        misses = np.cumsum(wrong[ours], dtype=np.float32)
        precision = hits / np.maximum(hits + misses, _EPSILON)
        for name, value in zip(
            VOC_MODES,
            _summed(hits / positives, precision) if positives else (None, None),
            strict=True,
        ):
            found[name].append(value)
    return found


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Detections by class, within it the best scored first, each held against the truth once.

    row: (d,) its place among the detections that were given. image: (d,) of which image. right,
    wrong: (d,) bool; neither for one on a difficult object. claimed: (d,) the object that it is on,
    -1 where it is on none or on a difficult one.
    bounds: (num_classes + 1,) where each class begins.
    """

    row: np.ndarray
    image: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    claimed: np.ndarray
    bounds: np.ndarray

    def of_class(self, label: int) -> slice:
        return slice(self.bounds[label], self.bounds[label + 1])


def judge(rows: Stacked, count: int, num_classes: int) -> Judged:
    """Which detections are right at IoU 0.5; see `voc_average_precisions`. count: of images."""
    # By class, within it by image, within that as the detector gave them.
    group = rows.labels * count + rows.image
    order = np.argsort(group, kind="stable")
    group, scores = group[order], rows.scores[order]
    right, wrong, claimed = _judge(rows, count, group, order)
    bounds = np.searchsorted(group, np.arange(num_classes + 1) * count)
    ranking = np.arange(len(group))
    for start, end in pairwise(bounds):
        ranking[start:end] = start + np.argsort(-scores[start:end])  # as eval_map, ties included
    return Judged(
        row=order[ranking],
        image=rows.image[order][ranking],
        right=right[ranking],
        wrong=wrong[ranking],
        claimed=claimed[ranking],
        bounds=bounds,
    )


def pairs(
    group: np.ndarray, truth_group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a detection and an object of its group; truth_group: rising.

    Returns the detections that have an object, where the pairs of each begin, and for each pair
    whose it is (a place in the first) and its object.
    """
    first = np.searchsorted(truth_group, group, side="left")
    counts = np.searchsorted(truth_group, group, side="right") - first
    some = np.flatnonzero(counts)
    first, counts = first[some], counts[some]
    begin = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(some)), counts)
    return some, begin, owner, np.arange(len(owner)) - begin[owner] + first[owner]


def greatest(
    values: np.ndarray, begin: np.ndarray, owner: np.ndarray, partner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each owner's pairs the greatest value, and the first partner that has it."""
    most = np.maximum.reduceat(values, begin)
    best = np.flatnonzero(values == most[owner])[::-1]  # the first of equals is written last
    matched = np.zeros(len(begin), np.intp)
    matched[owner[best]] = partner[best]
    return most, matched


def _judge(
    rows: Stacked, count: int, group: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which detections are right, which wrong, and what they are on, in the order given."""
    right, wrong = np.zeros(len(group), bool), np.ones(len(group), bool)
    on = np.full(len(group), -1)
    truth_group = rows.truth_labels * count + rows.truth_image
    truth_order = np.lexsort((rows.difficult, truth_group))  # difficult ones behind the others
    truth_group, difficult = truth_group[truth_order], rows.difficult[truth_order]
    boxes = rows.boxes[order].astype(np.float32, copy=False)
    truth = rows.truth[truth_order].astype(np.float32, copy=False)

    some, begin, owner, partner = pairs(group, truth_group)
    if not some.size:
        return right, wrong, on
    overlap = overlaps(boxes[some[owner]], truth[partner])
    most, matched = greatest(overlap, begin, owner, partner)

    near = most >= 0.5
    wrong[some[near]] = False
    claims = near & ~difficult[matched]
    claim, claimed = some[claims], matched[claims]
    winners = _winners(claim, claimed, group, rows.scores[order])
    wrong[claim] = True
    wrong[winners] = False
    right[winners] = True
    on[claim] = truth_order[claimed]
    return right, wrong, on


def _winners(
    claim: np.ndarray, claimed: np.ndarray, group: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Of the detections that claim an object the one that eval_map comes to first.

    claim: rows of the detections; claimed: the object of each.
    """
    by_object = np.lexsort((-scores[claim], claimed))
    claim, claimed = claim[by_object], claimed[by_object]
    leads = np.flatnonzero(np.diff(claimed, prepend=-1))
    winners = claim[leads]
    ends = np.append(leads[1:], len(claim))
    second = np.minimum(leads + 1, len(claim) - 1)
    ties = (ends - leads > 1) & (scores[claim[second]] == scores[winners])
    for index in np.flatnonzero(ties):  # its own sort decides, which is not a stable one
        rivals = claim[leads[index] : ends[index]]
        start, end = np.searchsorted(group, group[rivals[0]] + np.arange(2))
        turn = np.empty(end - start, np.intp)
        turn[np.argsort(-scores[start:end])] = np.arange(end - start)
        winners[index] = rivals[np.argmin(turn[rivals - start])]
    return winners


def overlaps(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of each row with its own; corners inclusive, float32 in the order of bbox_overlaps."""
    boxes, truth = np.asfortranarray(boxes), np.asfortranarray(truth)  # columns in one piece: 5x
    areas = [
        (part[:, 2] - part[:, 0] + 1) * (part[:, 3] - part[:, 1] + 1) for part in (boxes, truth)
    ]
    start, end = np.maximum(boxes[:, :2], truth[:, :2]), np.minimum(boxes[:, 2:], truth[:, 2:])
    sides = np.maximum(end - start + 1, 0)
    both = sides[:, 0] * sides[:, 1]
    shares: np.ndarray = both / np.maximum(areas[0] + areas[1] - both, 1e-6)
    return shares


def _summed(recall: np.ndarray, precision: np.ndarray) -> tuple[float, float]:
    """Percent by VOC_MODES. recall: rising, float64; precision: float32."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best at this recall or beyond
    padded = np.append(envelope, np.float32(0))
    eleven = np.float32(0)
    for place in np.searchsorted(recall, np.arange(0, 1 + 1e-3, 0.1)):
        eleven += padded[place]
    steps = np.diff(recall, prepend=0.0)
    rises = np.flatnonzero(steps)
    area = np.float32(np.sum(steps[rises] * envelope[rises].astype(np.float64)))
    return 100 * float(eleven / np.float32(11)), 100 * float(area)


def _by_mmdet(images: Sequence[ScoredImage], num_classes: int) -> dict[str, list[float | None]]:
    from mmdet.evaluation.functional import average_precision, eval_map

    detections, annotations = as_mmdet(images, num_classes)
    _, per_class = eval_map(
        detections, annotations, iou_thr=0.5, nproc=1, logger="silent", use_legacy_coordinate=True
    )
    return {
        name: [
            100 * float(average_precision(item["recall"], item["precision"], mode))
            if item["num_gts"]
            else None
            for item in per_class
        ]
        for name, mode in VOC_MODES.items()
    }


def as_mmdet(
    images: Sequence[ScoredImage], num_classes: int
) -> tuple[list[list[np.ndarray]], list[dict[str, np.ndarray]]]:
    """Detections (n, 5) by image and class, and annotations by image, as eval_map takes them."""
    detections, annotations = [], []
    for image in images:
        scored = np.concatenate([image.boxes, image.scores[:, None]], axis=1)
        detections.append([scored[image.labels == label] for label in range(num_classes)])
        annotations.append(
            {
                "bboxes": image.truth[~image.difficult],
                "labels": image.truth_labels[~image.difficult],
                "bboxes_ignore": image.truth[image.difficult],
                "labels_ignore": image.truth_labels[image.difficult],
            }
        )
    return detections, annotations
