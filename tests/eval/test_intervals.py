"""Intervals against scipy.stats and hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eval.intervals import interval, paired_difference


def test_three_seeds_by_hand() -> None:
    result = interval([30.0, 32.0, 34.0])
    assert result is not None
    assert (result.mean, result.std, result.n) == (32.0, 2.0, 3)
    half = 4.302652729696142 * 2 / 3**0.5  # t(0.975, 2) from a printed table, 4.303
    assert result.ci95 == pytest.approx((32 - half, 32 + half), abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_interval_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(50, 3, n)
    result = interval(list(values))
    assert result is not None
    expected = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert result.std == pytest.approx(values.std(ddof=1))
    assert result.ci95 == pytest.approx(expected)


def test_a_paired_difference_is_that_of_the_paired_t_test() -> None:
    values, control = {0: 31.0, 1: 35.5, 2: 30.0, 3: 33.0}, {0: 20.0, 1: 22.0, 2: 18.5, 3: 25.0}
    test = stats.ttest_rel(list(values.values()), list(control.values()))
    low, high = test.confidence_interval(0.95)
    result = paired_difference(values, control)
    assert result is not None
    assert result.ci95 == pytest.approx((low, high))
    assert result.mean == pytest.approx((low + high) / 2)


def test_only_seeds_of_both_are_paired() -> None:
    result = paired_difference({0: 30.0, 1: 40.0, 5: 99.0}, {1: 10.0, 0: 10.0, 7: 0.0})
    assert result is not None
    assert (result.mean, result.n) == (25.0, 2)
    assert paired_difference({0: 30.0}, {1: 10.0}) is None


def test_one_seed_has_no_spread_and_none_has_nothing() -> None:
    one = interval([31.5])
    assert one is not None
    assert (one.mean, one.std, one.n, one.ci95) == (31.5, None, 1, None)
    assert interval([]) is None


def test_equal_seeds_have_an_interval_of_no_width() -> None:
    result = interval([12.0, 12.0, 12.0])
    assert result is not None
    assert (result.std, result.ci95) == (0.0, (12.0, 12.0))
