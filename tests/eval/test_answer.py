"""The first lines of the page say what stands beside what, and of what there is no evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import numpy as np

from engine.results import Metric
from eval.image_bootstrap import ByImage, ImageBootstrap
from eval.intervals import Interval
from eval.page.answer import make_answer
from eval.records import Record
from eval.sections.material import Material
from eval.summary import RowName, Score, make_table
from tests.eval.report_material import material_of, record_of


def answered(rows: Mapping[str, Sequence[float]]) -> list[str]:
    records = [record_of(name, s, value) for name, of in rows.items() for s, value in enumerate(of)]
    return make_answer(material_of(records))


def test_a_mean_of_fewer_seeds_is_not_ranked() -> None:
    line, wide = answered({"x_a": [9.0], "x_b": [5.0, 5.2], "x_c": [4.0, 4.1]})
    assert line.startswith(
        "mAP: highest 5.1, x_b, of the 2 rows with all 2 seeds, the other of which is lower;"
    )
    assert "of fewer than 2 seeds, so not comparable as they stand: x_a" in line
    assert wide == "All intervals by seed are over 2 seeds, and therefore wide."
    line, _ = answered({"x_b": [5.0, 5.2]})
    assert "fewer than" not in line
    assert "rows with all" not in line


def test_one_seed_without_images_is_not_tested() -> None:
    (line, *_) = answered({"x_a": [9.0], "scratch:x": [5.0]})
    assert line.endswith("of one seed, so that no difference from the control is tested.")


def test_the_highest_says_which_rows_may_be_as_high() -> None:
    """Paired by seed: x_near is lower in two of three seeds, x_far by 10 in all of them."""
    rows = {"x_best": [20.0, 22.0, 24.0], "x_near": [19.0, 23.0, 20.0], "x_far": [10.1, 12.0, 14.0]}
    (line,) = answered(rows)
    assert line.startswith(
        "mAP: highest 22.0, x_best; cannot be told from it: x_near; lower: x_far;"
    )
    (line,) = answered({name: rows[name] for name in ("x_best", "x_far")})
    assert line.startswith("mAP: highest 22.0, x_best, the other is lower;")
    (line,) = answered({**rows, "x_next": [19.0, 20.0, 24.0]})
    assert "cannot be told from it: x_next, x_near; lower: x_far;" in line


def test_of_equal_rows_one_is_called_lower_in_5_of_100_tables() -> None:
    """The highest is chosen after the fact, which counts as comparing all pairs."""
    rng, rows, draws, wrong = np.random.default_rng(1), 15, 150, 0
    records = [record_of(f"x_{at}", seed, 0.0) for at in range(rows) for seed in range(8)]
    table = material_of(records).table
    for _ in range(draws):
        values = rng.normal(30, 1, (rows, 8))
        for record, value in zip(records, values.flat, strict=True):
            record.metrics["mAP"] = Metric(value=value, n=200)
        scored = [
            Score(value=Interval(mean=mean, std=None, n=8, ci95=None), delta=None)
            for mean in values.mean(axis=1)
        ]
        made = [
            replace(row, metrics={"mAP": score})
            for row, score in zip(table.rows, scored, strict=True)
        ]
        material = Material(
            table=replace(table, rows=tuple(made)),
            records=tuple(records),
            evidence=lambda _: None,
        )
        (line,) = make_answer(material)
        alike = line.partition("cannot be told from it: ")[2].partition(";")[0]
        more = re.search(r"and (\d+) more", alike)
        wrong += alike.count("x_") + (int(more[1]) if more else 0) < rows - 1
    assert wrong / draws <= 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5


def compared_by_image(p_value: float, rows: int = 3) -> str:
    """One seed; each row lies 10 above the next one, the last is the control."""

    class Drawn:
        draws = 1000
        problems: Mapping[str, str] = MappingProxyType({})

        def difference(
            self, metric: str, own: Mapping[int, Record], control: Mapping[int, Record]
        ) -> ByImage | None:
            if not (shared := own.keys() & control.keys()):
                return None
            values = [of[0].metrics[metric].value for of in (own, control) if 0 in shared]
            mean = (values[0] or 0.0) - (values[1] or 0.0)
            return ByImage(mean=mean, ci95=(mean - 1, mean + 1), n_images=200, p_value=p_value)

    names = ("x_a", "x_b", "x_c")[: rows - 1]
    records = [record_of(name, 0, 40.0 - 10 * at) for at, name in enumerate((*names, "scratch:x"))]
    drawn = cast(ImageBootstrap, Drawn())
    table = make_table(
        records,
        benchmark="mini",
        rows=[RowName(backbone=r.backbone, control=r.control) for r in records],
        seeds=[0],
        tasks=("detection",),
        bootstrap=drawn,
    )
    (line,) = make_answer(
        Material(table=table, records=tuple(records), evidence=lambda _: None, bootstrap=drawn)
    )
    return line


def test_what_the_images_of_one_seed_decide_says_so() -> None:
    assert compared_by_image(0.001) == (
        "mAP: highest 40.0, x_a, the others are lower by image, of one seed; "
        "better than the control by image, of one seed: x_a, x_b."
    )
    assert compared_by_image(0.001, rows=2) == (
        "mAP: highest 40.0, x_a, the other is lower by image, of one seed; "
        "better than the control by image, of one seed: x_a."
    )
    assert compared_by_image(0.5) == (
        "mAP: highest 40.0, x_a; cannot be told from it by image, of one seed: x_b, "
        "scratch:x; no evidence of a difference from the control by image, of one seed: x_a, x_b."
    )


def test_a_chosen_baseline_without_the_metric_is_told() -> None:
    records = [
        record_of("x_a", 0, 9.0),
        record_of("scratch:x", 0, 3.0),
        record_of("x_b", 0, None, status="failed", message="out of memory"),
        record_of("x_c", 1, 5.0),
    ]

    def line(baseline: str) -> str:
        table = make_table(
            records,
            benchmark="mini",
            rows=[RowName(backbone=r.backbone, control=r.control) for r in records],
            seeds=[0, 1],
            tasks=("detection",),
            baseline=baseline,
        )
        material = Material(table=table, records=tuple(records), evidence=lambda _: None)
        assert material.reference_row("detection", "x_a") == (None if baseline == "x_b" else "x_c")
        return make_answer(material)[0]

    assert line("x_b").endswith("; the baseline x_b has no mAP, so that nothing is compared.")
    assert line("x_c").endswith("; no row shares a seed with the baseline x_c.")


def test_of_no_whole_row_none_is_the_highest() -> None:
    records = [record_of("x_a", 0, 9.0), record_of("x_b", 1, 5.0)]
    line, _ = make_answer(material_of(records))
    assert line.startswith("mAP: no row has all seeds, so that none is the highest;")
