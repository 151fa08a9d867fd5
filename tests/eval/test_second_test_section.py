"""Test-time augmentation in the report: gain by seed, of one seed by image, beside its cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from engine.evidence import Evidence
from engine.results import Metric
from engine.second_test import views_in, with_views
from eval.records import Record
from eval.sections.second_test import section
from eval.sections.section import Grid, Section
from tests.eval.report_material import PROTOCOL, material_of, record_of

VIEWS = {"scales": [1.0, 1.5], "flip": True}


def of_seed(backbone: str, seed: int, plain: float, views: float, **changes: Any) -> Record:
    metrics = {"mAP": Metric(value=plain, n=200), "mAP_tta": Metric(value=views, n=200)}
    cost = {"seconds": 72.0, "test_seconds": 2.0, "tta_seconds": 7.0 + seed}
    protocol = {**PROTOCOL, "test_time": VIEWS}
    return record_of(
        backbone, seed, plain, **{"metrics": metrics, "cost": cost, "protocol": protocol} | changes
    )


def grid_of(found: Section | None) -> Grid:
    assert found is not None
    (grid,) = found.blocks
    assert isinstance(grid, Grid)
    return grid


def test_nothing_was_tested_on_views() -> None:
    assert section(material_of([record_of("a", 0, 20.0)])) is None


def test_the_gain_is_paired_by_seed_and_stands_beside_its_cost() -> None:
    plain, views = [20.0, 24.0, 22.0], [21.0, 25.2, 22.9]
    records = [of_seed("a", s, p, v) for s, (p, v) in enumerate(zip(plain, views, strict=True))]
    found = section(material_of([*records, record_of("b", 0, 30.0)]))
    grid = grid_of(found)
    assert [row[0].text for row in grid.rows] == ["a"], "b was tested plainly alone"
    (name, before, after, gain, *seconds, times) = grid.rows[0]
    assert name.detail == "scales 1, 1.5, mirrored too"
    assert (before.text, after.text) == ("22.0", "23.0")
    assert gain.sort == pytest.approx(np.mean(np.subtract(views, plain)))
    p_value = ttest_rel(views, plain).pvalue
    assert gain.text.endswith(" *") == (p_value < 0.05)
    assert f"{p_value:.3f}" in gain.detail
    assert [cell.text for cell in seconds] == ["2.0", "8.0"]
    assert times.text == "4.0x"
    assert found is not None
    assert "in 4.0 times the seconds" in found.lead


def test_of_fine_tunings_the_recipe_says_which_views_there_were() -> None:
    """As their protocol has it: the canonical recipe, and no `test_time` of a budget."""
    name = "resnet18d~finetune+test_time_views(scales=1 1.25, crops=5, of=logits)"
    trick = {"flip": True, "scales": [1, 1.25], "crops": 5, "of": "logits"}
    metrics = {"tuned_top1": Metric(value=80.0, n=200), "tta_top1": Metric(value=81.0, n=200)}
    protocol = {"stage": "finetune", "recipe": {"tricks": {"test_time_views": trick}}}
    record = of_seed(name, 0, 0.0, 0.0).model_copy(
        update={"task": "finetune", "metrics": metrics, "protocol": protocol}
    )
    said = grid_of(section(material_of([record]))).rows[0][0].detail
    assert said == "scales 1, 1.25, 5 crops, mirrored too, their logits averaged"


def evidence_of(right: np.ndarray) -> Evidence:
    """One object of one class in each of n images, found where `right`."""
    count, box = len(right), np.array([[2, 2, 12, 12]], np.float32)
    far = box + 20
    arrays = {
        "image": np.arange(count, dtype=np.int32),
        "box": np.where(right[:, None], box, far).astype(np.float32),
        "score": np.full(count, 0.9, np.float32),
        "label": np.zeros(count, np.int32),
        "truth_image": np.arange(count, dtype=np.int32),
        "truth_box": box.repeat(count, axis=0),
        "truth_label": np.zeros(count, np.int32),
        "truth_difficult": np.zeros(count, np.uint8),
    }
    images = tuple(f"{n}.jpg" for n in range(count))
    return Evidence(task="detection", classes=("thing",), images=images, arrays=arrays)


def test_of_one_seed_the_images_say_how_sure_the_gain_is() -> None:
    """Area AP of equal scores: precision is the share of right ones at their recall."""
    before, after = np.arange(40) < 16, np.arange(40) < 32
    plain, views = evidence_of(before), evidence_of(after)
    both = with_views(plain, views, ("image", "box", "score", "label"))
    read = views_in(both)
    assert read is not None
    assert np.array_equal(read.arrays["box"], views.arrays["box"])
    assert np.array_equal(both.arrays["box"], plain.arrays["box"])
    assert views_in(plain) is None
    # The right ones come first among equal scores, as images do: precision 1 up to recall.
    protocol = {**PROTOCOL, "budget": {"metric": "area"}, "test_time": VIEWS}
    metrics = {"mAP": Metric(value=40.0, n=40), "mAP_tta": Metric(value=80.0, n=40)}
    metrics["mAP_area"] = metrics["mAP"]
    record = of_seed("a", 0, 40.0, 80.0, metrics=metrics, protocol=protocol)
    found = section(replace(material_of([record]), evidence=lambda asked: both))
    gain = grid_of(found).rows[0][3]
    assert gain.sort == pytest.approx(40)
    assert gain.text.startswith("+40.0 (")
    assert gain.text.endswith(" *"), "16 of 40 images changed, and all for the better"
    without = section(material_of([record]))
    assert grid_of(without).rows[0][3].text == "+40.0 not tested"
