"""Calibration against cases by hand and scikit-learn; chance against many draws of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from classification.calibration import (
    bias,
    brier_score,
    error_by_chance,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)


def draw(n: int, *, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and right answers that come `shift` less often than they say."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(4, 1.5, n)
    return confidence, rng.random(n) < confidence - shift


def test_error_by_hand() -> None:
    # Of five bins, (0.4, 0.6] holds three answers, one right, of 0.5; (0.8, 1] two, both right.
    confidence = np.array([0.45, 0.5, 0.55, 0.9, 1.0])
    right = np.array([True, False, False, True, True])
    diagram = reliability(confidence, right, bins=5)
    assert diagram.count.tolist() == [0, 0, 3, 0, 2]
    assert diagram.accuracy[[2, 4]] == pytest.approx([1 / 3, 1])
    assert diagram.confidence[[2, 4]] == pytest.approx([0.5, 0.95])
    assert np.isnan(diagram.accuracy[[0, 1, 3]]).all()
    expected = 100 * (3 / 5 * (0.5 - 1 / 3) + 2 / 5 * 0.05)
    assert expected_calibration_error(diagram) == pytest.approx(expected)
    assert brier_score(confidence, right) == pytest.approx(
        (0.55**2 + 0.5**2 + 0.55**2 + 0.1**2 + 0) / 5
    )


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_sure_of_everything(confidence: float) -> None:
    """One bin, and its gap is that of all."""
    right = np.array([True, True, True, False])
    diagram = reliability(np.full(4, confidence), right)
    assert diagram.count.sum() == 4
    assert expected_calibration_error(diagram) == pytest.approx(100 * abs(0.75 - confidence))
    assert error_by_chance(diagram) == 0
    assert bias(np.full(4, confidence), right)[1] == 0, "no deviation to measure it by"


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    diagram = reliability(np.array([0.25, 0.5, 0.5001]), np.ones(3, bool), bins=4)
    assert diagram.count.tolist() == [1, 1, 1, 0]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 300), bins=st.integers(1, 20), seed=st.integers(0, 10_000))
def test_the_diagram_is_scikit_learns(n: int, bins: int, seed: int) -> None:
    confidence, right = draw(n, seed=seed)
    diagram = reliability(confidence, right, bins=bins)
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins)
    filled = diagram.count > 0
    assert diagram.accuracy[filled] == pytest.approx(accuracy)
    assert diagram.confidence[filled] == pytest.approx(mean)


def test_scores_are_scikit_learns() -> None:
    confidence, right = draw(500)
    assert brier_score(confidence, right) == pytest.approx(
        brier_score_loss(right, confidence, labels=[False, True])
    )
    probabilities = np.random.default_rng(1).dirichlet(np.ones(4), 300)
    labels = np.arange(300) % 4
    mine = negative_log_likelihood(probabilities[np.arange(300), labels].astype(np.float32))
    assert mine == pytest.approx(log_loss(labels, probabilities), rel=1e-6)


def test_a_label_without_any_probability_is_no_infinity() -> None:
    assert negative_log_likelihood(np.array([0.0, 1.0], np.float32)) == pytest.approx(
        -np.log(1.1754943508222875e-38) / 2
    )


def test_chance_is_what_many_calibrated_classifiers_show() -> None:
    confidence, _ = draw(1000)
    rng = np.random.default_rng(7)
    shown = [
        expected_calibration_error(reliability(confidence, rng.random(1000) < confidence))
        for _ in range(300)
    ]
    expected = error_by_chance(reliability(confidence, np.ones(1000, bool)))
    assert 2 < expected < 4
    assert np.mean(shown) == pytest.approx(expected, rel=0.05)


def test_bias_tells_over_confidence_from_chance() -> None:
    # At 40 images the same shift is within what chance does.
    for n, shift, sure in ((4000, 0.1, True), (4000, 0.0, False), (40, 0.05, False)):
        gap, deviations = bias(*draw(n, shift=shift))
        assert (abs(deviations) > 3) == sure
        if sure:
            assert gap == pytest.approx(100 * shift, abs=2)
    assert bias(np.array([0.5]), np.array([True]))[0] == -50, "under-confidence is below 0"


def test_calibrated_classifiers_are_seldom_called_biased() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.beta(4, 1.5, 400)
    found = [bias(confidence, rng.random(400) < confidence)[1] for _ in range(1000)]
    assert np.mean(np.abs(found) > 1.96) == pytest.approx(0.05, abs=0.02)
