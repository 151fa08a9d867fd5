"""Corrected p-values, verdicts and rank correlations against examples by hand and scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval.significance import (
    explain_no_evidence,
    holm,
    paired_t,
    rank_correlation,
    verdict_of,
)


def test_holms_own_example() -> None:
    """Four tests: 0.01, 0.04, 0.03 and 0.005 times 3, 1, 2 and 4, and never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_is_no_test_does_not_count() -> None:
    assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_more_tests_than_are_looked_at_count_too() -> None:
    """As if the other two of the four had p = 1."""
    assert holm([0.04, None, 0.01], tests=4) == pytest.approx([0.12, None, 0.04])
    assert holm([None, None], tests=1) == [None, None]


def test_an_interval_without_0_and_no_evidence_are_explained() -> None:
    explain = explain_no_evidence
    assert "over the 5 rows" in explain((0.1, 2.0), "no evidence", 0.06, 5)
    assert "over the 2 rows" in explain((-2.0, -0.1), "no evidence", 0.09, 2)
    assert explain((-0.1, 2.0), "no evidence", 0.06, 5) == ""
    assert explain((0.1, 2.0), "better", 0.04, 5) == ""
    assert explain(None, "no evidence", None, 5) == ""
    assert explain((0.1, 2.0), "no evidence", 0.06, 1) == ""  # nothing was corrected
    for rows in (0, 1, 5):  # all differ by the same: nothing was tested, however many rows
        assert explain((2.0, 2.0), "no evidence", None, rows) == "no spread to test against"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_a_corrected_value_rejects_what_holms_steps_reject(
    p_values: list[float], level: float
) -> None:
    """The procedure as it is written: from the smallest on, until one is above level / (m - k)."""
    rejected = set()
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(int(place))
    found = holm(p_values)
    assert {place for place, p in enumerate(found) if p is not None and p <= level} == rejected


@pytest.mark.parametrize("n", [2, 3, 10])
def test_p_is_the_paired_t_tests(n: int) -> None:
    rng = np.random.default_rng(n)
    ours, theirs = rng.normal(31, 2, n), rng.normal(30, 2, n)
    assert paired_t(list(ours - theirs)) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([], None),
        ([3.0], None),
        ([3.0, 3.0, 3.0], None),  # nothing varies: nothing to hold 3 against
        ([0.0, 0.0, 0.0], 1.0),
        ([30.1 - 20.1, 10.0, 40.1 - 30.1], None),  # equal, but for how numbers are rounded
        ([0.3 - 0.1 - 0.2, 0.0], 1.0),
    ],
)
def test_without_spread_there_is_no_division_by_zero(
    differences: list[float], expected: float | None
) -> None:
    assert paired_t(differences) == expected


@pytest.mark.parametrize(
    ("difference", "p_value", "higher", "expected"),
    [
        (1.0, 0.049, True, "better"),
        (-1.0, 0.049, True, "worse"),
        (1.0, 0.049, False, "worse"),
        (-1.0, 0.049, False, "better"),
        (1.0, 0.05, True, "no evidence"),
        (1.0, None, True, "no evidence"),
        (0.0, 1.0, True, "no evidence"),
        (None, None, True, None),
    ],
)
def test_verdicts(
    difference: float | None, p_value: float | None, higher: bool, expected: str | None
) -> None:
    assert verdict_of(difference, p_value, higher_is_better=higher) == expected


def test_tau_by_hand() -> None:
    """Of ten pairs of pairs one is the other way round: (9 - 1) / 10; p: 2 (1 + 4) / 5!."""
    found = rank_correlation([1, 2, 3, 4, 5], [10, 20, 30, 50, 40])
    assert found is not None
    assert (found.n, found.tau) == (5, pytest.approx(0.8))
    assert found.p_value == pytest.approx(2 * (1 + 4) / 120)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_tau_counts_pairs_with_ties(pairs: list[tuple[int, int]]) -> None:
    """tau-b as it is defined, by all pairs of pairs."""
    x, y = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    found = rank_correlation(list(map(float, x)), list(map(float, y)))
    if len(pairs) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
        return
    by_x, by_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    expected = (by_x * by_y).sum() / np.sqrt(np.abs(by_x).sum() * np.abs(by_y).sum())
    assert found is not None
    assert found.tau == pytest.approx(expected)
    if found.ci95 is None:
        assert len(pairs) < 5
    else:
        assert -1 <= found.ci95[0] <= found.tau <= found.ci95[1] <= 1


def test_taus_interval_by_hand() -> None:
    """n = 5: the half width of atanh(0.8) = 1.0986 is 1.96 sqrt(0.437)."""
    found = rank_correlation([1, 2, 3, 4, 5], [10, 20, 30, 50, 40])
    assert found is not None
    half = 1.959964 * 0.437**0.5
    assert found.ci95 == pytest.approx((np.tanh(1.0986123 - half), np.tanh(1.0986123 + half)))


def test_perfect_agreement_is_not_sure_of_itself() -> None:
    found = rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert found is not None
    assert found.tau == pytest.approx(1)
    assert found.ci95 is not None
    assert found.ci95[0] < 0.8
    assert found.ci95[1] == pytest.approx(1)


def test_what_is_no_number_is_left_out() -> None:
    found = rank_correlation([1, float("nan"), 2, 3, 4], [1, 0, 2, float("inf"), 3])
    assert found is not None
    assert found.n == 3
    assert rank_correlation([1, float("nan"), 2], [1, 2, 3]) is None
    with pytest.raises(ValueError, match="2 values against 1"):
        rank_correlation([1, 2], [1])


def test_taus_interval_covers_what_it_claims() -> None:
    """Normal pairs of correlation r have tau 2 asin(r) / pi (Kendall 1970)."""
    rng, r, n, draws = np.random.default_rng(3), 0.5, 12, 400
    truth = 2 / np.pi * np.arcsin(r)
    covered = 0
    for _ in range(draws):
        x, other = rng.normal(size=(2, n))
        found = rank_correlation(list(x), list(r * x + (1 - r**2) ** 0.5 * other))
        assert found is not None
        assert found.ci95 is not None
        covered += found.ci95[0] <= truth <= found.ci95[1]
    # An approximation, and 400 draws are good to 1.1 %: three of these, and one of its own.
    assert 0.91 <= covered / draws <= 0.99
