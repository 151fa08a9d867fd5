"""The report's sections on one's own images, from evidence of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact

from classification.own_images import (
    DuplicatePair,
    ImageFindings,
    LikelyLabelError,
    OwnImage,
    UnusableImage,
)
from engine.evidence import Evidence
from engine.results import Metric
from eval.page.page import render_page
from eval.sections import calibration, class_change, mistakes, own_files, own_labels, own_slices
from eval.sections.all_sections import make_sections
from eval.sections.material import Material
from eval.sections.section import Gallery, Grid, Section
from tests.eval.report_material import jpeg, material_of

CLASSES = ("cat", "<dog>")
N = 200
SECTIONS = (mistakes.own_section, own_labels.section, own_slices.section, own_files.section)


def answered(*, dark_fail: bool) -> Evidence:
    """200 images, half of each class, brightness 0.25 to 50; the 50 darkest wrong but for ten."""
    label = np.arange(N, dtype=np.int32) % 2
    wrong = (
        (np.arange(N) < 50) & (np.arange(N) % 5 > 0)
        if dark_fail
        else np.isin(np.arange(N) % 40, (3, 22))
    )
    confidence = np.linspace(0.99, 0.6, N, dtype=np.float32)
    return Evidence(
        task="finetune",
        classes=CLASSES,
        images=tuple(f"val/{CLASSES[c]}/{at}.jpg" for at, c in enumerate(label)),
        arrays={
            "label": label,
            "prediction": np.where(wrong, 1 - label, label).astype(np.int32),
            "confidence": confidence,
            "label_confidence": np.where(wrong, 1 - confidence, confidence).astype(np.float32),
            "label_rank": wrong.astype(np.int32),
            "image_width": np.full(N, 640, np.int32),
            "image_height": np.where(np.arange(N) % 2, 480, 640).astype(np.int32),
            "image_brightness": np.linspace(0.25, 50, N, dtype=np.float32),
            "image_contrast": np.random.default_rng(0).uniform(5, 30, N).astype(np.float32),
        },
        pictures={f"mistake/{at}": jpeg(at) for at in range(N)},
    )


def image(name: str, label: str = "cat", *, tested: bool = True) -> OwnImage:
    return OwnImage(name=name, label=label, tested=tested)


FINDINGS = ImageFindings(
    tested="test",
    n_tested=N,
    n_others=800,
    pairs=(
        DuplicatePair(
            first=image("val/cat/1.jpg"), second=image("train/x.jpg", tested=False), distance=3
        ),
        DuplicatePair(
            first=image("val/cat/2.jpg"), second=image("val/dog/3.jpg", "<dog>"), distance=-1
        ),
    ),
    n_pairs=2,
    n_leaks=1,
    label_errors=(
        LikelyLabelError(
            image=image("val/cat/9.jpg"), likely="<dog>", probability=0.02, margin=-0.9
        ),
        LikelyLabelError(
            image=image("train/cat/7.jpg", tested=False),
            likely="<dog>",
            probability=0.1,
            margin=-0.7,
        ),
    ),
    n_label_errors=2,
    n_judged=400,
    unusable=(UnusableImage(name="train/cat/<broken>.jpg", reason="it is empty (0 bytes)"),),
    n_unusable=1,
)
PICTURES = {
    f"{kind}/{place}": jpeg()
    for kind, places in (("duplicate", ("0/0", "0/1", "1/0", "1/1")), ("label_error", "01"))
    for place in places
}


def with_findings(evidence: Evidence, text: bytes | None = None) -> Evidence:
    """text: of other findings than `FINDINGS`."""
    data = FINDINGS.model_dump_json().encode() if text is None else text
    return replace(
        evidence,
        arrays={**evidence.arrays, "findings": np.frombuffer(data, np.uint8)},
        pictures={**evidence.pictures, **PICTURES},
    )


@pytest.fixture
def own(make_record: Callable[..., Any]) -> Callable[[Mapping[str, Evidence | None]], Material]:
    """own({row: evidence}): one seed of each, of the fine-tuning."""

    def make(rows: Mapping[str, Evidence | None]) -> Material:
        records, known = [], {}
        for name, evidence in rows.items():
            right = 50.0
            if evidence is not None:
                wrong = evidence.arrays["label"] != evidence.arrays["prediction"]
                right = 100 * float(1 - wrong.mean())
            record = make_record(name, "detection", evidence_sha256="e" * 64).model_copy(
                update={"task": "finetune", "metrics": {"tuned_top1": Metric(value=right, n=N)}}
            )
            records.append(record)
            known[record.key] = evidence
        return replace(material_of(records), evidence=lambda record: known[record.key])

    return make


def grids(section: Section) -> list[list[dict[str, str]]]:
    return [
        [dict(zip(b.header, (cell.text for cell in row), strict=True)) for row in b.rows]
        for b in section.blocks
        if isinstance(b, Grid)
    ]


def galleries(section: Section) -> Sequence[Gallery]:
    return [block for block in section.blocks if isinstance(block, Gallery)]


def test_nothing_is_said_of_a_run_without_fine_tuning(own: Callable[..., Material]) -> None:
    assert [make(own({})) for make in SECTIONS] == [None] * 4
    no_answers = own({"a": None})
    assert [make(no_answers) for make in SECTIONS[1:]] == [None] * 3
    assert "not there" in mistakes.own_section(no_answers).left_out[0]


def test_that_dark_images_fail_is_seen(own: Callable[..., Material]) -> None:
    made = own_slices.section(own({"net": answered(dark_fail=True)}))
    rows = {row["images of"]: row for row in grids(made)[0]}
    dark = rows[next(name for name in rows if name.startswith("brightness 0"))]
    assert dark["n"] == "50"
    assert dark["accuracy % [95%]"].startswith("20.0 [")
    assert dark["− the rest"] == "-80.0"
    assert dark["verdict"] == "worse"
    p = fisher_exact([[10, 40], [150, 0]]).pvalue  # the smallest of all: times the number of rows
    assert float(dark["p"]) == pytest.approx(p * len(rows), rel=0.1)
    assert "worse beyond chance on: brightness 0 to 1" in made.lead
    assert "the same in all images: width" in made.left_out
    # Two heights: 100 images each, and no quarter of them.
    assert rows["height 480 px"]["n"] == rows["height 640 px"]["n"] == "100"


def test_no_slice_is_blamed_for_chance(own: Callable[..., Material]) -> None:
    made = own_slices.section(own({"net": answered(dark_fail=False)}))
    assert "worse than the rest beyond chance" in made.lead
    assert {row["verdict"] for row in grids(made)[0]} <= {"no evidence"}


def test_the_best_row_is_looked_at(own: Callable[..., Material]) -> None:
    rows = {"bad": answered(dark_fail=True), "good": answered(dark_fail=False)}
    material = own(rows)
    assert own_slices.section(material).lead.startswith("good (seed 0) is right on 95.0%")
    assert mistakes.own_section(material).lead.startswith("good (seed 0) is wrong on 10 of")


def test_the_least_sure_images_are_shown_of_ones_own_alone(own: Callable[..., Material]) -> None:
    made = mistakes.own_section(own({"net": answered(dark_fail=False)}))
    unsure = next(g for g in galleries(made) if "least sure" in g.caption)
    assert [picture.data for picture in unsure.pictures] == [
        jpeg(at) for at in range(N - 1, N - 13, -1)
    ]
    assert unsure.pictures[0].alt.startswith("Tested image val/")


def test_a_fine_tuning_stands_beside_another_of_its_backbone(own: Callable[..., Material]) -> None:
    rows = {
        "scratch:net~finetune": answered(dark_fail=True),
        "net~plain": answered(dark_fail=True),
        "net~finetune": answered(dark_fail=False),
    }
    made = mistakes.own_section(own(rows))
    assert "net~finetune, which has the highest top-1, is compared with net~plain" in str(made)
    classes = class_change.own_section(own(rows))
    assert "both it and net~plain have a top-1" in classes.left_out[0]
    shown = galleries(made)[0].pictures[0]
    name = shown.alt.removeprefix("Tested image ").partition(",")[0]
    assert shown.caption.startswith(f"{name}: ")


def test_label_errors_are_listed_with_pictures(own: Callable[..., Material]) -> None:
    made = own_labels.section(own({"net": with_findings(answered(dark_fail=False))}))
    assert "2 labels of 400 images that it had not seen (0.5%) are likely wrong" in made.lead
    assert [p.caption for p in galleries(made)[0].pictures] == [
        f"{name}: labelled cat, likely <dog>" for name in ("val/cat/9.jpg", "train/cat/7.jpg")
    ]
    listed, kinds = grids(made)
    assert [(r["image"], r["split"], r["label %"], r["label − next %"]) for r in listed] == [
        ("val/cat/9.jpg", "tested", "2.0", "-90.0"),
        ("train/cat/7.jpg", "training", "10.0", "-70.0"),
    ]
    assert kinds == [{"label": "cat", "likely": "<dog>", "images": "2"}]


def test_a_bad_classifier_doubts_no_label(own: Callable[..., Material]) -> None:
    evidence = with_findings(answered(dark_fail=False))
    arrays = evidence.arrays
    wrong = {"prediction": (1 - arrays["label"]).astype(np.int32)}
    made = own_labels.section(own({"net": replace(evidence, arrays={**arrays, **wrong})}))
    assert "right on 0.0% of the tested images only: too weak to judge labels" in made.lead
    assert "2 are worth a look" in made.lead
    assert "likely wrong" not in made.lead
    assert galleries(made)[0].caption == "Worth a look first"


def test_duplicates_and_unusable_files_are_listed(own: Callable[..., Material]) -> None:
    made = own_files.section(own({"net": with_findings(answered(dark_fail=False))}))
    assert "Among 1000 images" in made.lead
    assert "1 of them is of a tested image and one that was trained on" in made.lead
    assert "1 pair was given two different labels" in made.lead
    pairs, unusable = grids(made)
    assert [(r["split"], r["classes"], r["bits"]) for r in pairs] == [
        ("across: tested and trained on", "cat", "3"),
        ("both tested", "differ: cat, <dog>", "same file"),
    ]
    assert unusable == [{"file": "train/cat/<broken>.jpg", "why": "it is empty (0 bytes)"}]
    assert len(galleries(made)[0].pictures) == 4


def test_of_several_folds_no_pair_is_called_harmless(own: Callable[..., Material]) -> None:
    """Tested images of repeated hold-outs were trained on too, in those that did not hold them."""
    found = FINDINGS.model_copy(
        update={"tested": "out-of-fold", "pairs": FINDINGS.pairs[1:], "n_pairs": 1, "n_leaks": 0}
    )
    text = found.model_dump_json().encode()
    made = own_files.section(own({"net": with_findings(answered(dark_fail=False), text)}))
    assert "None is" not in made.lead
    assert "not held out together, one was trained on when the other was tested" in made.lead
    assert [row["split"] for row in grids(made)[0]] == ["tested in one fold or in two"]


def test_findings_that_cannot_be_read_are_said(own: Callable[..., Material]) -> None:
    material = own({"net": with_findings(answered(dark_fail=False), b'{"tested": 3}')})
    for make in (own_labels.section, own_files.section):
        made = make(material)
        assert "cannot be shown" in made.lead
        assert "cannot be read" in made.left_out[0]


def test_all_of_it_is_on_the_page_and_escaped(own: Callable[..., Material]) -> None:
    material = own({"net": with_findings(answered(dark_fail=True)), "other": None})
    sections = make_sections(material)
    page = render_page(material, (), sections)
    for make in SECTIONS:
        assert f'id="{make(material).key}"' in page
    assert "<dog>" not in page
    assert "<broken>" not in page


def test_calibration_says_once_that_there_is_one_seed(own: Callable[..., Material]) -> None:
    made = calibration.own_section(own({"net": answered(dark_fail=False)}))
    table = next(block for block in made.blocks if isinstance(block, Grid))
    assert "on the tested images; one seed, no interval" in table.caption
    assert not [cell for row in table.rows for cell in row if "one seed" in cell.detail]
