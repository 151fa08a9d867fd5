"""The first lines of the page say what stands beside what."""

from __future__ import annotations

from eval.page.answer import make_answer
from tests.eval.report_material import material_of, record_of


def test_a_mean_of_fewer_seeds_is_not_ranked_in_silence() -> None:
    records = [record_of("x_a", 0, 9.0), *(record_of("x_b", seed, 5.0) for seed in (0, 1))]
    (line,) = make_answer(material_of(records).table, [])
    assert "of fewer than 2 seeds, so not comparable as they stand: x_a" in line
    (line,) = make_answer(material_of(records[1:]).table, [])
    assert "fewer than" not in line
