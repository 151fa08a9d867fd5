"""What is said of fine-tunings: which row is best, how sure that is, where its classifier lies."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from engine.results import Metric
from eval.cli import main
from eval.layout import Layout
from eval.page.answer import make_answer, question_of
from eval.page.numbers import make_numbers
from eval.records import Record, write_record
from eval.sections.cost import section as cost_section
from eval.sections.material import Material
from eval.short_names import short_names, with_short_names
from eval.summary import RowName, make_table
from eval.tables import to_markdown
from eval.tuned_classifiers import best_record, classifiers_of
from tests.eval.report_material import record_of

PATH = "/home/me/runs/resnet50d_mixup-s0-c8503ad1"
BEST, OTHER = f"{PATH}~finetune", f"{PATH}~plain"


def tuned(name: str, value: float, seed: int = 0, **changes: Any) -> Record:
    content: dict[str, Any] = {
        "task": "finetune",
        "control": None,
        "metrics": {"tuned_top1": Metric(value=value, n=60)},
        "environment": {"classifier": "classifier"},
        **changes,
    }
    return record_of(name, seed, None, **content)


def material(*records: Record, **changes: Any) -> Material:
    rows = {record.backbone: RowName(backbone=record.backbone, control=None) for record in records}
    table = make_table(
        records,
        benchmark="flowers",
        rows=list(rows.values()),
        seeds=sorted({record.seed for record in records}),
        tasks=("finetune",),
    )
    return Material(table=table, records=records, evidence=lambda _: None, **changes)


def write_artifact(folder: Path, weights: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "schema": 1,
        "architecture": "resnet18d",
        "arguments": {"width": 0.25},
        "weights": "trained",
        "preprocessing": {
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            "channel_order": "RGB",
            "interpolation": "bilinear",
        },
        "features": {"channels": [16, 32, 64, 128], "strides": [4, 8, 16, 32]},
        "metrics": None,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "cost": {"parameters": 1000, "gmacs": 0.1},
    }
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "model.safetensors").write_bytes(weights)


def classifier_of(out: Path, record: Record, place: str = "classifier") -> Path:
    folder = out / "work" / f"finetune-any-name-s{record.seed}-{record.key[:8]}" / place
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    return folder


def test_the_best_row_of_one_seed_has_an_interval_by_image() -> None:
    found = material(tuned(BEST, 75.0), tuned(OTHER, 50.0))
    line, *_ = make_answer(found)
    low, high = binomtest(45, 60).proportion_ci(method="wilson")
    assert line.startswith(
        f"tuned top-1: highest 75.0 (95% by image, 60 of them: {100 * low:.1f} to {100 * high:.1f})"
        f", {BEST}; cannot be told from it: {OTHER};"
    )
    assert "fine-tuning" in question_of(found.table)


def test_a_fine_tuning_alone_says_nothing_of_techniques_and_not_of_pretraining() -> None:
    said = str(make_answer(material(tuned(BEST, 90.0))))
    assert "nothing says what the techniques add" in said
    assert "pretraining" not in said


def test_of_several_seeds_the_interval_is_theirs() -> None:
    line, *_ = make_answer(material(tuned(BEST, 70.0), tuned(BEST, 72.0, seed=1)))
    # t(0.975, 1) = 12.706; s / sqrt(2) = 1
    assert "highest 71.0 (95% by seed: 58.3 to 83.7)" in line


def test_the_answer_names_the_classifier_and_how_to_export_it(tmp_path: Path) -> None:
    best = tuned(BEST, 75.0)
    folder = classifier_of(tmp_path, best)
    known = classifiers_of([best], [Layout(tmp_path)], below=tmp_path)
    (_, line) = make_answer(material(best, classifiers=known))
    place = folder.relative_to(tmp_path)
    assert f"lies in {place}, in the folder of this page" in line
    assert line.endswith(f"trickle export {place} --to onnx")
    elsewhere = classifiers_of([best], [Layout(tmp_path)], below=tmp_path / "other")
    assert elsewhere[best.key].path == folder


def validated(name: str, tested: float, value: float, seed: int = 0, **changes: Any) -> Record:
    metrics = {
        "tuned_top1": Metric(value=tested, n=60),
        "validation_top1": Metric(value=value, n=24),
    }
    return tuned(name, tested, seed, metrics=metrics, **changes)


def named(out: Path, *records: Record) -> str:
    """What the page says of the classifier, all of which are there."""
    known = classifiers_of(records, [Layout(out)], below=out)
    (line,) = [x for x in make_answer(material(*records, classifiers=known)) if "onnx" in x]
    return line


def test_the_page_names_the_classifier_that_validated_best_whatever_the_test_says(
    tmp_path: Path,
) -> None:
    """Rows by their means over seeds, 93.0 and 92.5; of the first the seed that validated best."""
    records = [
        validated(OTHER, 99.0, 97.0, seed=0),
        validated(OTHER, 99.0, 88.0, seed=1),
        validated(BEST, 70.0, 90.0, seed=0),
        validated(BEST, 60.0, 96.0, seed=1),
    ]
    folders = [classifier_of(tmp_path, record) for record in records]
    line = named(tmp_path, *records)
    said = "seed 1: 96.0 on 24 validation images; 93.0 in the mean of its 2 seeds"
    assert line.startswith(f"The classifier that validated best, {BEST} ({said}), lies in ")
    assert f"lies in {folders[3].relative_to(tmp_path)}," in line


def test_of_rows_that_validated_alike_the_simplest_is_taken_in_any_order(tmp_path: Path) -> None:
    """Not the first: a report sorts its rows by the test."""
    rows = [
        validated("net~b", 70.0, 95.0, tricks=("x",)),
        validated("net~c", 99.0, 95.0, tricks=("x", "y")),
        validated("net~a", 60.0, 95.0, tricks=("z",)),
        validated("net~d", 60.0, 94.0, tricks=()),
    ]
    for order in (rows, rows[::-1]):
        best = best_record(order)
        assert best is not None
        assert best.record.backbone == "net~a"
        assert best.said == (
            "seed 0: 95.0 on 24 validation images; 3 rows validated alike: the one of the fewest "
            "tricks, then the first by name, was taken"
        )
    seeds = best_record([validated("net~b", 70.0, 95.0, seed=s) for s in (2, 1)])
    assert seeds is not None
    assert seeds.record.seed == 1
    assert seeds.said.endswith("; 2 seeds validated alike: the first was taken")


def test_where_nothing_is_tested_the_score_itself_is_of_validation_images() -> None:
    failed = tuned("net~x", 0.0, status="failed", message="out of memory", metrics={})
    best = best_record([tuned(OTHER, 50.0), failed, tuned(BEST, 75.0)])
    assert best is not None
    assert (best.record.backbone, best.score, best.n) == (BEST, 75.0, 60)
    assert best_record([failed]) is None


def test_a_classifier_that_was_exported_lies_in_the_folder_of_the_page(tmp_path: Path) -> None:
    best = tuned(BEST, 75.0)
    work = classifier_of(tmp_path, best)
    export = tmp_path / "classifier"
    for folder, weights in ((work, b"these"), (export, b"others")):
        write_artifact(folder, weights)
    assert f"lies in {work.relative_to(tmp_path)}," in named(tmp_path, best)
    write_artifact(export, b"these")
    line = named(tmp_path, best)
    assert "lies in classifier, in the folder of this page" in line
    assert line.endswith("trickle export classifier --to onnx")
    card = export / "card.json"  # the same weights with other names of classes are not these
    card.write_text(card.read_text().replace('"schema": 1', '"schema": 1, "classes": ["x", "y"]'))
    assert f"lies in {work.relative_to(tmp_path)}," in named(tmp_path, best)
    write_artifact(export, b"these")
    (export / "model.safetensors").unlink()
    assert f"lies in {work.relative_to(tmp_path)}," in named(tmp_path, best)


def test_of_folds_the_best_on_its_own_validation_images_is_named(tmp_path: Path) -> None:
    best = tuned(
        BEST,
        75.0,
        environment={"classifier": "fold-1/classifier, fold-2/classifier, ../../elsewhere"},
        per_class={"folds": {"fold 1": 60.0, "fold 2": 80.0, "fold 3": None}},
    )
    for place in ("fold-1/classifier", "fold-2/classifier"):
        folder = classifier_of(tmp_path, best, place)
    (found,) = classifiers_of([best], [Layout(tmp_path)], below=Path("/")).values()
    assert found.path == folder.relative_to("/")
    assert found.which.startswith("fold 2 of 3")
    assert found.which.endswith("the table's numbers are of all folds together")


def test_a_record_cannot_send_to_another_folder(tmp_path: Path) -> None:
    best = tuned(BEST, 75.0, environment={"classifier": "../../secret"})
    classifier_of(tmp_path, best, "../../secret")
    assert classifiers_of([best], [Layout(tmp_path)], below=tmp_path) == {}


def test_the_page_of_fine_tunings_speaks_of_fine_tuning() -> None:
    found = material(tuned(BEST, 75.0), tuned(OTHER, 50.0, cost={"seconds": 30.0}))
    assert to_markdown(found.table, []).startswith("# Fine-tuning on flowers\n")
    costs = cost_section(found)
    assert costs is not None
    assert costs.lead == f"Fine-tuning takes from 30s ({OTHER}) to 1m12s ({BEST})."


def test_a_number_of_a_fine_tuning_opens_what_is_behind_it() -> None:
    (row,) = make_numbers(material(tuned(BEST, 75.0))).rows
    first = next(iter(row.numbers))
    assert (first.text, first.sort, bool(first.behind)) == ("75.0", 75.0, True)


def test_names_of_artifacts_are_shortened_as_far_as_they_stay_apart() -> None:
    names = ["/a/x/best~plain", "/b/x/best", "/b/y/other", "timm:resnet18", "hf:me/it", "a/b"]
    assert short_names(names) == {"/b/y/other": "…/other"}


def test_the_table_has_the_short_names_and_the_records_theirs() -> None:
    found = material(tuned(BEST, 75.0))
    table, (record,), paths = with_short_names(found.table, found.records)
    short = "…/resnet50d_mixup-s0-c8503ad1"
    assert [row.name.backbone for row in table.rows] == [record.backbone] == [f"{short}~finetune"]
    assert paths == [f"{short} is {PATH}"]


def test_a_report_says_where_the_classifier_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.page.page.render_page", lambda *_: "")  # it draws for seconds
    monkeypatch.chdir(tmp_path)
    best = tuned(BEST, 75.0)
    write_record(tmp_path / "out" / "records", best)
    place = classifier_of(tmp_path / "out", best).relative_to(tmp_path)
    assert main(["report", "out"]) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    said = "seed 0: 75.0 on 60 validation images"
    assert re.fullmatch(rf"Classifier: {place}/ \({BEST}, {said}\); .*{place} --to onnx", last)
    assert BEST in (tmp_path / "out" / "table.csv").read_text()
    assert f"| …/{Path(BEST).name}".replace("~", r"\~") in (tmp_path / "out/table.md").read_text()


def test_a_row_is_no_artifact(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "resnet50d_mixup~finetune", "--to", "onnx"]) == 2
    assert "is the name of a row" in capfd.readouterr().err
