"""The faster average precisions are eval_map's and pycocotools' to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.mmcv_ops import install

install()
from detection.coco_average_precision import (  # noqa: E402
    coco_class_precisions,
    coco_statistics,
)
from detection.scored_image import ScoredImage  # noqa: E402
from detection.voc_average_precision import voc_average_precisions  # noqa: E402

CLASSES = 3


def nasty_image(rng: np.random.Generator, dtype: Any) -> ScoredImage:
    """Whole pixels, few different scores, boxes without area, hundreds of boxes or none."""

    def boxes(count: int) -> np.ndarray:
        corner = rng.integers(0, 12, (count, 2)) * rng.choice([1, 20])
        sides = rng.integers(0, 12, (count, 2)) * rng.choice([1, 20])
        return np.concatenate([corner, corner + sides], axis=1).astype(dtype)

    truth = boxes(rng.integers(0, 6))
    labels = rng.integers(0, CLASSES - 1, len(truth))  # the last class is only found
    count = rng.choice([0, 3, 30, 260])
    found, found_labels = boxes(count), rng.integers(0, CLASSES, count)
    if len(truth):
        near = rng.random(count) < 0.6
        copied = rng.integers(0, len(truth), count)
        jitter = rng.integers(-2, 3, (count, 4)) * (rng.random((count, 1)) < 0.5)
        found[near] = (truth[copied] + jitter)[near]
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
        found_labels[near] = labels[copied][near]
    return ScoredImage(
        boxes=found,
        scores=rng.choice([0.1, 0.3, 0.7, 0.9], count).astype(dtype),
        labels=found_labels,
        truth=truth,
        truth_labels=labels,
        difficult=rng.random(len(truth)) < 0.3,
        size=(480, 480),
    )


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a function with the plain ways."""

    def call(function: Any, *arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("TRICKLE_REFERENCE", "voc_ap,coco_ap")
            return function(*arguments)

    return call


worlds = st.builds(
    lambda seed, images, dtype: [
        nasty_image(rng, dtype) for rng in [np.random.default_rng(seed)] for _ in range(images)
    ],
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 7]),
    st.sampled_from([np.float32, np.float64]),
)
given_worlds = settings(max_examples=25, deadline=None)


def test_voc_is_eval_maps_for_ties_difficult_and_missing(plain: Any) -> None:
    @given_worlds
    @given(worlds)
    def same(images: list[ScoredImage]) -> None:
        expected = plain(voc_average_precisions, images, CLASSES)
        assert voc_average_precisions(images, CLASSES) == expected
        assert expected["area"][CLASSES - 1] is None

    same()


def test_coco_is_pycocotools_for_ties_crowds_and_hundreds(plain: Any) -> None:
    @given_worlds
    @given(worlds)
    def same(images: list[ScoredImage]) -> None:
        expected = plain(coco_statistics, images, CLASSES)
        assert coco_statistics(images, CLASSES).tolist() == expected.tolist()
        by_class = coco_class_precisions(images, CLASSES)
        assert by_class == plain(coco_class_precisions, images, CLASSES)
        counting = [value for value in by_class if value is not None]
        mean = 100 * expected[0] if expected[0] >= 0 else pytest.approx(np.nan, nan_ok=True)
        assert (np.mean(counting) if counting else np.nan) == pytest.approx(mean, nan_ok=True)
        assert len(expected) == 12

    same()


def test_equal_scores_on_one_object_do_not_all_count() -> None:
    """Twenty copies of the one right box: one hit, found first or not, and nineteen misses."""
    box = np.array([[10, 10, 49, 49]], np.float32)
    image = ScoredImage(
        boxes=np.repeat(box, 20, axis=0),
        scores=np.full(20, 0.5, np.float32),
        labels=np.zeros(20, int),
        truth=box,
        truth_labels=np.zeros(1, int),
        difficult=np.zeros(1, bool),
        size=(100, 100),
    )
    (area,) = voc_average_precisions([image], 1)["area"]
    assert area in [pytest.approx(100 / place) for place in range(1, 21)]
