"""Calibration, mistakes and classes of the report, on answers of which the truth is known."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure

from engine.evidence import Evidence
from eval.page.plots import plot_svg
from eval.records import Record
from eval.sections import calibration, class_change, mistakes
from eval.sections.classifiers import short
from eval.sections.material import Material
from eval.sections.section import Gallery, Grid, Paragraph, Plot, Section
from eval.summary import RowName, make_table

Make = Callable[..., Record]
SECTIONS = (calibration.section, mistakes.section, class_change.section)
CLASSES = ("cat", "dog", "emu")
JPEG = b"\xff\xd8 not shown by these tests"
T1 = 12.706204736432095  # Student's t, 0.975, one degree of freedom: 12.706 in printed tables


def seen(
    label: Sequence[int],
    prediction: Sequence[int],
    confidence: Sequence[float] | float = 0.9,
    *,
    classes: tuple[str, ...] = CLASSES,
    images: Sequence[str] | None = None,
    pictures: bool = True,
) -> Evidence:
    """Of a classifier that gives what its prediction leaves to the label, or to all others."""
    n = len(label)
    y, z = np.array(label, np.int32), np.array(prediction, np.int32)
    p = np.broadcast_to(np.array(confidence, np.float32), n).copy()
    return Evidence(
        task="classification",
        classes=classes,
        images=tuple(images or (f"{classes[c]}/{at}.jpg" for at, c in enumerate(label))),
        arrays={
            "label": y,
            "prediction": z,
            "confidence": p,
            "label_confidence": np.where(y == z, p, (1 - p) / 2).astype(np.float32),
            "label_rank": (y != z).astype(np.int32),
        },
        pictures={f"mistake/{at}": JPEG for at in range(n)} if pictures else {},
    )


def of_evidence(
    make: Make, backbone: str, seed: int, evidence: Evidence | None, **changes: Any
) -> Record:
    if evidence is None:
        return make(backbone, "classification", seed, {"top1": 50.0}, **changes)
    arrays = evidence.arrays
    right = arrays["prediction"] == arrays["label"]
    per_class = {
        name: 100 * float(right[arrays["label"] == c].mean())
        for c, name in enumerate(evidence.classes)
        if (arrays["label"] == c).any()
    }
    content = {"per_class": {"top1": per_class}, "evidence_sha256": "e" * 64, **changes}
    top1 = {"top1": 100 * float(right.mean())}
    return make(backbone, "classification", seed, top1, **content)


def material_of(
    make: Make, rows: Mapping[str, Sequence[Evidence | None]], **changes: Any
) -> Material:
    """rows: backbone -> evidence of seed 0, 1, ..."""
    records, known = [], {}
    for backbone, seeds in rows.items():
        for seed, evidence in enumerate(seeds):
            records.append(of_evidence(make, backbone, seed, evidence, **changes))
            known[records[-1].key] = evidence
    return material(records, lambda record: known[record.key])


def material(records: Sequence[Record], evidence: Callable[[Record], Any]) -> Material:
    names = dict.fromkeys(record.backbone for record in records)
    seeds = sorted({record.seed for record in records}) or [0]
    table = make_table(
        records,
        benchmark="mini",
        rows=[RowName(backbone=name, control=None) for name in names],
        seeds=seeds,
        tasks=("detection", "segmentation"),
    )
    return Material(table=table, records=tuple(records), evidence=evidence)


def grids(made: Section) -> list[list[dict[str, str]]]:
    return [
        [dict(zip(b.header, (cell.text for cell in row), strict=True)) for row in b.rows]
        for b in made.blocks
        if isinstance(b, Grid)
    ]


def everything(made: Section, *, svg: bool = False) -> str:
    """All text that a reader may see; plots are drawn, and with svg as the page has them."""
    texts = [made.key, made.title, made.lead, *made.left_out]
    for block in made.blocks:
        match block:
            case Paragraph():
                texts.append(block.text)
            case Grid():
                texts += [block.caption, *block.header, *block.notes]
                texts += [f"{cell.text} {cell.detail}" for row in block.rows for cell in row]
                assert {len(row) for row in block.rows} == {len(block.header)}
            case Plot():
                texts += [block.caption, block.alt]
                block.draw(Figure(block.size))
                texts += [plot_svg(block, prefix="p")] if svg else []
            case Gallery():
                texts.append(block.caption)
                texts += [f"{picture.alt} {picture.caption}" for picture in block.pictures]
    return "\n".join(texts)


# Twenty images, ten of each of two classes.
LABEL = [0] * 10 + [1] * 10
HALF_RIGHT = [0] * 5 + [1] * 5 + [1] * 5 + [2] * 5
ALL_RIGHT = LABEL


def test_calibration_by_hand(make_record: Make) -> None:
    rows = {
        "sure": [seen(LABEL, HALF_RIGHT, 0.9), seen(LABEL, HALF_RIGHT, 0.8)],
        "unsure": [seen(LABEL, ALL_RIGHT, 0.75)] * 2,
        "fair": [seen(LABEL, HALF_RIGHT, 0.5)] * 2,
    }
    made = calibration.section(material_of(make_record, rows))
    (table,) = grids(made)
    found = {row["backbone"]: row for row in table}
    # 90 and 80% sure, half right: gaps of 40 and 30 points, +- t * sqrt(50) / sqrt(2) = t * 5.
    assert found["sure"]["ECE"] == f"35.00 ± {5 * T1:.2f}"
    assert found["sure"]["confidence − accuracy"] == f"+35.0 ± {5 * T1:.1f}"
    assert found["sure"]["accuracy %"] == "50.0 ± 0.0"
    assert found["sure"]["confidence %"] == f"85.0 ± {5 * T1:.1f}"
    # (0.1^2 + 0.9^2) / 2 and (0.2^2 + 0.8^2) / 2.
    assert found["sure"]["Brier"].startswith("0.3750 ±")
    assert found["unsure"]["ECE"].startswith("25.00")
    assert found["unsure"]["NLL"].startswith("0.288")  # -ln 0.75
    assert found["fair"]["ECE"].startswith("0.00")
    assert [found[name]["tendency"] for name in ("sure", "unsure", "fair")] == [
        "over-confident",
        "under-confident",
        "no evidence",
    ]
    assert found["fair"]["ECE by chance"].startswith("8.92")  # 100 sqrt(2 / pi) sqrt(20 / 4) / 20
    assert made.lead.startswith("Best calibrated is fair")
    assert "Worst is sure with 35.0, over-confident by 35.0 points" in made.lead
    assert "Of 3 classifiers 1 is under-confident and 1 is over-confident" in made.lead
    assert made.left_out == ()
    (diagrams,) = [block for block in made.blocks if isinstance(block, Plot)]
    assert "fair 0.0; unsure 25.0; sure 35.0" in diagrams.alt


def test_a_tie_is_called_one(make_record: Make) -> None:
    rng = np.random.default_rng(0)
    rows = {
        name: [seen(LABEL, HALF_RIGHT, rng.uniform(0.6, 0.8, 20)) for _ in range(3)]
        for name in ("one", "other")
    }
    lead = calibration.section(material_of(make_record, rows)).lead
    assert "no evidence that they differ" in lead
    single = {name: seeds[:1] for name, seeds in rows.items()}
    lead = calibration.section(material_of(make_record, single)).lead
    assert "fewer than two seeds do not tell them apart" in lead


def test_soft_targets_are_held_against_the_other_rows(make_record: Make) -> None:
    plain = of_evidence(make_record, "plain", 0, seen(LABEL, HALF_RIGHT, 0.9), tricks=("warmup",))
    soft = of_evidence(make_record, "soft", 0, seen(LABEL, ALL_RIGHT, 0.7), tricks=("mixup",))
    known = {plain.key: seen(LABEL, HALF_RIGHT, 0.9), soft.key: seen(LABEL, ALL_RIGHT, 0.7)}
    made = calibration.section(material([plain, soft], lambda record: known[record.key]))
    (said,) = [block.text for block in made.blocks if isinstance(block, Paragraph)]
    assert said.startswith("Soft targets (mixup): of 1 trained with them, 1 under")
    assert "-30.0 points" in said
    assert "+40.0 points" in said


def test_the_best_and_the_first_row_answer_side_by_side(make_record: Make) -> None:
    images = [f"cat/{at}.jpg" for at in range(4)]
    first = seen([0, 0, 0, 0], [0, 1, 1, 2], [0.6, 0.7, 0.8, 0.9], images=images)
    # The best has seen other images too, in another order, and has another list of classes.
    best = seen(
        [1, 1, 1, 1, 1],
        [1, 2, 1, 1, 1],
        [0.5, 0.96, 0.55, 0.65, 0.75],
        classes=("ant", "cat", "dog", "emu"),
        images=[*images[::-1], "cat/new.jpg"],
    )
    made = mistakes.section(material_of(make_record, {"first": [first], "best": [best]}))
    assert "best (seed 0) is wrong on 1 of 5 images" in made.lead
    assert "takes cat for dog (96% sure)" in made.lead
    (table,) = grids(made)
    assert table == [
        {"": "best right", "first right": "1", "first wrong": "2"},
        {"": "best wrong", "first right": "0", "first wrong": "1"},
    ]
    assert "it gets 2 right, and the other way round 0; 1 are wrong in both" in made.lead
    surest, _, of_first = [block for block in made.blocks if isinstance(block, Gallery)]
    assert [picture.caption for picture in surest.pictures] == [
        # cat/2.jpg, the third of the first row's
        "cat. best: dog 96%, the label 2%; first: dog 80%, the label 10%"
    ]
    assert [picture.caption for picture in of_first.pictures] == [
        "cat. first: emu 90%, the label 5%; best: cat 50% (right)",
        "cat. first: dog 80%, the label 10%; best: dog 96%, the label 2%",
        "cat. first: dog 70%, the label 15%; best: cat 55% (right)",
    ]
    assert made.left_out == ("not shown to first: 1 image of best",)


def test_the_best_first_row_is_compared_with_the_next_best(make_record: Make) -> None:
    rows = {
        "first": [seen(LABEL, ALL_RIGHT)],
        "third": [seen(LABEL, [2] * 20)],
        "second": [seen(LABEL, HALF_RIGHT)],
    }
    made = mistakes.section(material_of(make_record, rows))
    assert "first (seed 0) is wrong on 0 of 20 images" in made.lead
    assert "Of what second gets wrong it gets 10 right" in made.lead


def test_each_class_against_the_reference(make_record: Make) -> None:
    #  first: cat 50, 50; dog 50, 50. second: cat 100, 90; dog 0, 0.
    second = [
        seen(LABEL, [0] * 10 + [2] * 10),
        seen(LABEL, [0] * 9 + [1] + [2] * 10),
    ]
    rows = {"first": [seen(LABEL, HALF_RIGHT)] * 2, "second": second}
    made = class_change.section(material_of(make_record, rows))
    changes, confused = grids(made)
    assert changes == [
        {
            "backbone": "second",
            "mean over the classes": "-2.5",
            "classes better": "1",
            "classes worse": "1",
            "beyond chance": "0",  # t = 45 / 5 with one degree of freedom; -50 without any spread
            "gains": f"cat +45.0 ± {5 * T1:.1f}",
            "losses": "dog -50.0 no evidence",
            "seeds": "2",
        }
    ]
    # Mistakes a seed: second dog -> emu 10, 10 and cat -> dog 0, 1; first 5 and 5.
    assert [tuple(row.values()) for row in confused] == [
        ("dog", "emu", "10 (100.0%)", "5 (50.0%)"),
        ("cat", "dog", "0.5 (5.0%)", "5 (50.0%)"),
    ]
    assert "compared with first: no evidence that any single class changes" in made.lead
    assert "the largest difference is in dog, -50.0 points" in made.lead


def test_a_change_beyond_chance_is_named(make_record: Make) -> None:
    def wrong(cats: int, dogs: int) -> Evidence:
        label = [0] * 100 + [1] * 100
        prediction = [2] * cats + [0] * (100 - cats) + [2] * dogs + [1] * (100 - dogs)
        return seen(label, prediction)

    # cat: +30, +31, +29, t = 30 / (1 / sqrt(3)) = 52; dog: +10, -10, 0, t = 0.
    rows = {
        "first": [wrong(50, 50)] * 3,
        "second": [wrong(20, 40), wrong(19, 60), wrong(21, 50)],
    }
    made = class_change.section(material_of(make_record, rows))
    assert grids(made)[0][0]["beyond chance"] == "1"
    assert "1 of 2 classes change beyond chance: cat" in made.lead


def test_of_one_seed_the_images_tell(make_record: Make) -> None:
    def wrong(cats: range, dogs: range) -> Evidence:
        label = [0] * 40 + [1] * 40
        prediction = [*(2 if n in cats else 0 for n in range(40))]
        return seen(label, prediction + [2 if n in dogs else 1 for n in range(40)])

    first, second = wrong(range(30), range(10)), wrong(range(10), range(5, 15))
    made = class_change.section(material_of(make_record, {"first": [first], "second": [second]}))
    # cat: 20 of 40 become right, none wrong; dog: 5 become right and 5 wrong.
    cat = scipy.stats.ttest_1samp([100.0] * 20 + [0.0] * 20, 0)
    low, high = cat.confidence_interval()
    row = grids(made)[0][0]
    assert row["gains"] == f"cat +50.0 ({low:+.1f} to {high:+.1f}) *"
    assert row["losses"] == "–"
    assert row["beyond chance"] == "1"
    assert "1 of 2 classes change beyond chance of the test images, of one seed: cat" in made.lead


def test_those_with_evidence_are_named_before_larger_ones(make_record: Make) -> None:
    def wrong(cats: int, dogs: int) -> Evidence:
        label = [0] * 100 + [1] * 100
        prediction = [2] * cats + [0] * (100 - cats) + [2] * dogs + [1] * (100 - dogs)
        return seen(label, prediction)

    # cat: +30, +31, +29; dog: +70, +60, -10: larger on the mean, and any.
    rows = {
        "first": [wrong(50, 90)] * 3,
        "second": [wrong(20, 20), wrong(19, 30), wrong(21, 100)],
    }
    row = grids(class_change.section(material_of(make_record, rows)))[0][0]
    assert row["gains"].startswith("cat +30.0 ± 2.5 *, dog +40.0 ±")


@pytest.mark.parametrize("make", SECTIONS)
def test_nothing_without_classifiers(make: Any, make_record: Make) -> None:
    assert make(material([], lambda record: None)) is None
    assert make(material([make_record()], lambda record: None)) is None


@pytest.mark.parametrize("make", SECTIONS)
def test_records_without_evidence_are_left_out_with_the_reason(
    make: Any, make_record: Make
) -> None:
    recovered = make_record("recovered", "classification", 0, {"top1": 50.0})
    lost = make_record("lost", "classification", 3, {"top1": 60.0}, evidence_sha256="e" * 64)
    said = "\n".join(make(material([recovered, lost], lambda record: None)).left_out)
    assert "recovered (seed 0): its record names no evidence" in said
    assert "lost (seed 3): its evidence is not there" in said


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", SECTIONS)
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({"a": [seen(LABEL, HALF_RIGHT)]}, id="one row, one seed"),
        pytest.param({"a": [seen(LABEL, HALF_RIGHT)] * 3, "b": [None]}, id="no evidence"),
        pytest.param({"a": [seen(LABEL, ALL_RIGHT, 1.0)] * 3} | {"b": [seen([0], [1], 0.0)]},
                     id="zero variance, sure of all"),
        pytest.param({"a": [seen([0], [0], pictures=False)]}, id="one image, no picture"),
        pytest.param({"a": [seen([0], [1])], "b": [None, seen([0], [2])]}, id="no shared seed"),
        pytest.param({"a": [seen([0], [1])], "b": [seen([0], [1], images=["other"])]},
                     id="no shared image"),
        pytest.param({"a": [seen([0, 1], [1, 1])], "b": [seen([0], [1], classes=("x", "y"))]},
                     id="no shared class"),
        pytest.param({"a": [seen([0], [0])], "b": [seen([0], [5])]}, id="a label out of range"),
        pytest.param({"<b>$x_{$\x1b[31m" * 9: [seen([0], [1], classes=("$\\frac$", "<i>\u202e"))],
                      "b": [seen([0], [1], classes=("$", "<i>"))]}, id="hostile names"),
    ],
)  # fmt: skip
def test_odd_records(make: Any, rows: dict[str, Any], make_record: Make) -> None:
    hostile = any("<" in name for name in rows)
    text = everything(make(material_of(make_record, rows)), svg=hostile)
    assert not re.search(r"\bnan\b|\binf\b|None|array\(", text)


@pytest.mark.parametrize("make", SECTIONS)
def test_a_record_without_metrics_or_classes(make: Any, make_record: Make) -> None:
    good = seen(LABEL, HALF_RIGHT)
    bare = make_record("bare", "classification", 0, {"top1": None}, evidence_sha256="e" * 64)
    other = of_evidence(
        make_record, "other", 0, good, per_class={"top1": {"cat": None, "dog": 10.0}}
    )
    for records in ([bare, other], [other, bare], [bare]):
        text = everything(make(material(records, lambda record: good)))
        assert not re.search(r"\bnan\b|\binf\b|None|array\(", text)


def test_of_many_rows_some_are_drawn_and_all_listed(make_record: Make) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(10, size=1000)
    classes = tuple(f"class {c}" for c in range(10))
    records, known = [], {}
    for row in range(100):
        prediction = np.where(rng.random(1000) < 0.7, label, rng.integers(10, size=1000))
        evidence = seen(label, prediction, rng.uniform(0.2, 1, 1000), classes=classes)
        record = of_evidence(make_record, f"row{row}", 0, evidence)
        records.append(record)
        known[record.key] = evidence
    material_ = material(records, lambda record: known[record.key])
    started = time.monotonic()
    made = [make(material_) for make in SECTIONS]
    assert time.monotonic() - started < 5
    assert len(grids(made[0])[0]) == 100
    assert len(grids(made[2])[0]) == 99
    (diagrams,) = [block for block in made[0].blocks if isinstance(block, Plot)]
    assert "the 4 best and the 4 worst calibrated of 100" in diagrams.caption
    assert sum(len(block.pictures) for block in made[1].blocks if isinstance(block, Gallery)) <= 36


def test_a_long_name_keeps_its_ends() -> None:
    name = "timm:convnext_xxlarge.clip_laion2b_soup_ft_in12k@/weights/file_v2.safetensors"
    assert short(name, 20) == "timm:convn…fetensors"
    assert len(short("x" * 500)) == 32
    assert short("resnet50d_mixup") == "resnet50d_mixup"
