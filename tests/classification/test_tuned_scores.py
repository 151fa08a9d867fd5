"""Metrics of a fine-tuned classifier: cases counted by hand, and scikit-learn's own functions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from classification.tuned_scores import all_finite, answers_of, top1_by_class, tuned_scores


def test_scores_of_four_images_counted_by_hand() -> None:
    # Predicted: a, b, b, c; right are the first, the third and the fourth.
    labels = np.array([0, 0, 1, 2])
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], np.float32
    )
    found = tuned_scores(labels, probabilities)
    assert found == {
        "tuned_top1": pytest.approx(75),
        "balanced_accuracy": pytest.approx(100 * (1 / 2 + 1 + 1) / 3),
        # F1 of a: precision 1, recall 1/2; of b: precision 1/2, recall 1; of c: both 1.
        "macro_f1": pytest.approx(100 * (2 / 3 + 2 / 3 + 1) / 3),
    }
    assert top1_by_class(answers_of(labels, probabilities), 4) == [50, 100, 100, None]


@pytest.mark.parametrize(("classes", "there"), [(5, False), (6, True)])
def test_top5_is_left_out_where_no_answer_could_be_wrong(classes: int, there: bool) -> None:
    found = tuned_scores(np.array([0, 1]), np.full((2, classes), 1 / classes, np.float32))
    assert ("tuned_top5" in found) is there


def test_many_images_score_as_scikit_learn_says() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(7, size=200)
    probabilities = rng.dirichlet(np.ones(7), size=200).astype(np.float32)
    found = tuned_scores(labels, probabilities)
    said = probabilities.argmax(1)
    assert found["balanced_accuracy"] == pytest.approx(100 * balanced_accuracy_score(labels, said))
    assert found["macro_f1"] == pytest.approx(100 * f1_score(labels, said, average="macro"))
    in_top5 = [
        label in row.argsort()[-5:] for label, row in zip(labels, probabilities, strict=True)
    ]
    assert found["tuned_top5"] == pytest.approx(100 * np.mean(in_top5))


def test_two_classes_have_an_area_under_the_curve() -> None:
    labels = np.array([0, 1, 0, 1, 1])
    of_second = np.array([0.1, 0.9, 0.6, 0.5, 0.7])
    probabilities = np.column_stack([1 - of_second, of_second]).astype(np.float32)
    # Of the 6 pairs (one of each class) 5 are in the right order: only 0.6 is above 0.5.
    assert tuned_scores(labels, probabilities)["auc"] == pytest.approx(100 * 5 / 6)
    assert roc_auc_score(labels, of_second) == pytest.approx(5 / 6)


def test_of_images_of_one_class_the_area_is_not_defined() -> None:
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6]], np.float32)
    found = tuned_scores(np.array([0, 0]), probabilities)
    assert found["auc"] is None
    assert found["balanced_accuracy"] == 50  # a class without images does not count


def test_one_answer_that_is_no_number_spoils_all() -> None:
    good = np.full((3, 2), 0.5, np.float32)
    assert all_finite(good, None)
    for bad in (np.nan, np.inf):
        spoiled = good.copy()
        spoiled[1, 0] = bad
        assert not all_finite(good, None, spoiled)
