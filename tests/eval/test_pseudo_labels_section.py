"""Pseudo-labels in the report: the gain by seed, of one seed by image, and what was admitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_rel

from classification.evidence import Answers
from classification.pseudo_findings import with_pseudo_labels
from classification.pseudo_labels import PseudoRound
from classification.tricks import PseudoLabels
from engine.evidence import Evidence
from engine.results import Metric
from eval.records import Record
from eval.sections.pseudo_labels import section
from eval.sections.section import Gallery, Grid, Section
from tests.eval.report_material import material_of, record_of

CLASSES = ("cat", "dog")


def of_seed(backbone: str, seed: int, alone: float | None, both: float) -> Record:
    metrics = {"tuned_top1": Metric(value=both, n=40)}
    if alone is not None:
        metrics["labelled_only_top1"] = Metric(value=alone, n=40)
    return record_of(backbone, seed, None, task="finetune", metrics=metrics)


def answers(right: int) -> Answers:
    rank = (np.arange(40) >= right).astype(np.int32)
    half = np.full(40, 0.5, np.float32)
    label = np.zeros(40, np.int32)
    return Answers(
        label=label, prediction=rank, confidence=half, label_confidence=half, label_rank=rank
    )


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    """30 of 40 images right, 15 by the labelled ones alone; of 4 unlabelled ones 3 admitted."""
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path in paths:
        Image.new("RGB", (8, 8), (200, 100, 0)).save(path)
    plain = Evidence(
        task="finetune",
        classes=CLASSES,
        images=tuple(f"{i}.png" for i in range(40)),
        arrays=vars(answers(30)),
    )
    first = PseudoRound(
        prediction=np.array([0, 0, 1, 1], np.int32),
        confidence=np.array([0.9, 0.95, 0.99, 0.6], np.float32),
        admitted=np.array([True, True, True, False]),
    )
    return with_pseudo_labels(
        plain,
        answers(15),
        folds=[(paths, [first])],
        truth={paths[0]: 0, paths[1]: 1, paths[3]: 1},  # of c nobody knows
        folder=tmp_path,
        trick=PseudoLabels(threshold=0.9),
    )


def grids(found: Section | None) -> list[Grid]:
    assert found is not None
    return [block for block in found.blocks if isinstance(block, Grid)]


def test_there_is_no_section_without_pseudo_labels() -> None:
    assert section(material_of([of_seed("a", 0, None, 70.0)])) is None


def test_the_gain_is_paired_by_seed() -> None:
    alone, both = [60.0, 64.0, 62.0], [66.0, 69.0, 68.5]
    rows = [of_seed("a", s, *pair) for s, pair in enumerate(zip(alone, both, strict=True))]
    (grid,) = grids(section(material_of([*rows, of_seed("b", 0, None, 90.0)])))
    (row,) = grid.rows
    assert [cell.text for cell in row[:3]] == ["a", "62.0", "67.8"]
    assert row[3].sort == pytest.approx(np.mean(np.subtract(both, alone)))
    assert row[3].text.endswith(" *") == (ttest_rel(both, alone).pvalue < 0.05)


def test_of_one_seed_the_images_say_how_sure_it_is(evidence: Evidence) -> None:
    material = material_of([of_seed("a", 0, 37.5, 75.0)])
    gain = grids(section(replace(material, evidence=lambda _: evidence)))[0].rows[0][3]
    assert gain.sort == pytest.approx(37.5)
    assert gain.text.startswith("+37.5 (")
    assert gain.text.endswith(" *"), "15 of 40 images changed, all for the better"


def test_what_was_admitted_is_counted_by_class_shown_and_judged_in_hindsight(
    evidence: Evidence,
) -> None:
    found = section(
        replace(material_of([of_seed("a", 0, 37.5, 75.0)]), evidence=lambda _: evidence)
    )
    _, of_rounds, of_classes = grids(found)
    # Of a and b, whose class is known, one is right.
    texts: list[Any] = [cell.text for cell in of_rounds.rows[0]]
    assert texts == ["round 1", "4", "3", "75.0", "94.7", "50.0"]
    assert any("hindsight" in note for note in of_rounds.notes)
    assert [[cell.text for cell in row] for row in of_classes.rows] == [
        ["cat", "2", "92.5", "50.0"],
        ["dog", "1", "99.0", "–"],
    ]
    assert found is not None
    (gallery,) = [block for block in found.blocks if isinstance(block, Gallery)]
    assert [picture.caption for picture in gallery.pictures] == [
        "cat, 95.0%, the surest; truly dog",
        "cat, 90.0%, the least sure; right",
        "dog, 99.0%, the surest",
    ]


def test_evidence_that_cannot_be_read_costs_its_grids_alone(evidence: Evidence) -> None:
    broken = replace(evidence, arrays={**evidence.arrays, "pseudo_labels": np.zeros(3, np.uint8)})
    found = section(replace(material_of([of_seed("a", 0, 37.5, 75.0)]), evidence=lambda _: broken))
    assert len(grids(found)) == 1
    assert found is not None
    assert "cannot be read" in found.left_out[0]
