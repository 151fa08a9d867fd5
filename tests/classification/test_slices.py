"""Accuracy on quarters of the images against scipy and a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, hypergeom

from classification.slices import quartile_slices, wilson_interval


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    right, n = counts
    known = binomtest(right, n).proportion_ci(method="wilson")
    found = wilson_interval(right, n)
    assert found == pytest.approx((100 * known.low, 100 * known.high), abs=1e-6)
    assert 0 <= found[0] <= 100 * right / n <= found[1] <= 100


def test_quarters_by_hand() -> None:
    """The dark half of eight images is wrong but for one, the bright half right."""
    found = quartile_slices(
        [30, 10, 20, 40, 50, 60, 70, 80], [False, False, True, False, True, True, True, True]
    )
    assert [(s.low, s.high, s.n, s.right) for s in found] == [
        (10, 20, 2, 1), (30, 40, 2, 0), (50, 60, 2, 2), (70, 80, 2, 2),
    ]  # fmt: skip
    second = found[1]
    assert (second.n_rest, second.right_rest) == (6, 5)
    assert second.difference == pytest.approx(-100 * 5 / 6)
    # All ways to draw 2 of 8, 5 of them right, with none right: 3/28. As unlikely or more: that.
    assert second.p_value == pytest.approx(hypergeom(8, 5, 2).pmf(0))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=60),
)
def test_every_image_is_in_one_slice_with_those_of_its_value(
    images: list[tuple[int, bool]],
) -> None:
    values, right = np.array([v for v, _ in images]), np.array([r for _, r in images])
    found = quartile_slices(values, right)
    if len(set(values.tolist())) == 1:
        assert found == ()
        return
    assert 2 <= len(found) <= 4
    for part in found:
        inside = (values >= part.low) & (values <= part.high)
        assert (part.n, part.right) == (inside.sum(), right[inside].sum())
        assert part.n + part.n_rest == len(values)
    assert sum(part.n for part in found) == len(values)
