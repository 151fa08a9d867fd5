"""--baseline: one row that all others are compared with, in place of each one's control."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backbones.catalog import UnknownNameError
from eval.baseline import find_baseline
from eval.cli import main
from eval.layout import Layout
from eval.records import Record, write_record
from eval.sections.material import Material
from eval.summary import RowName, Table, make_table
from eval.tables import cells, reading, to_csv, to_json

Make = Callable[..., Record]
VALUES = {
    "resnet50d_mixup": ("scratch:resnet50d", 30.0, 32.0),
    "resnet50d_cosine": ("scratch:resnet50d", 26.0, 27.0),
    "resnet18b_cosine": ("scratch:resnet18b", 21.0, 25.0),
    "scratch:resnet50d": (None, 4.0, 5.0),
    "scratch:resnet18b": (None, 3.0, 5.0),
}
TRICKS = {"resnet50d_mixup": ("cosine_decay", "mixup"), "resnet50d_cosine": ("cosine_decay",)}


@pytest.fixture
def records(make_record: Make) -> list[Record]:
    return [
        make_record(
            name,
            "detection",
            seed,
            {"mAP": value},
            tricks=TRICKS.get(name, ("cosine_decay",) if control else ()),
            control=control,
        )
        for name, (control, *values) in VALUES.items()
        for seed, value in enumerate(values)
    ]


def table_of(records: list[Record], baseline: str | None = None) -> Table:
    rows = {r.backbone: r for r in records}
    names = [RowName(backbone=n, control=r.control, tricks=r.tricks) for n, r in rows.items()]
    return make_table(
        records,
        benchmark="mini",
        rows=names,
        seeds=(0, 1),
        tasks=("detection",),
        baseline=baseline,
    )


def test_all_rows_are_held_against_it_controls_too(records: list[Record]) -> None:
    table = table_of(records, "resnet50d_cosine")
    content = to_json(table)
    assert content["baseline"] == "resnet50d_cosine"
    compared = {row["backbone"]: row["compared_with"] for row in content["rows"]}
    assert compared == dict.fromkeys(VALUES, "resnet50d_cosine") | {"resnet50d_cosine": None}
    lines = {line["backbone"]: line for line in csv.DictReader(io.StringIO(to_csv(table)))}
    assert {n: line["compared_with"] or None for n, line in lines.items()} == compared
    deltas = {row["backbone"]: row["metrics"]["mAP"]["delta"] for row in content["rows"]}
    assert deltas == {
        "resnet50d_mixup": 4.5,
        "resnet50d_cosine": None,
        "resnet18b_cosine": -3.5,
        "scratch:resnet50d": -22.0,
        "scratch:resnet18b": -22.5,
    }
    assert "minus the baseline resnet50d_cosine, paired by seed" in " ".join(reading(table))


def test_without_it_each_row_has_its_own_control(records: list[Record]) -> None:
    table = table_of(records)
    content = to_json(table)
    assert content["baseline"] is None
    assert {row["backbone"]: row["compared_with"] for row in content["rows"]} == {
        name: control for name, (control, *_) in VALUES.items()
    }
    assert "minus the control" in " ".join(reading(table))
    # Of one architecture the control is the baseline; to ask for it changes nothing.
    only = [r for r in records if "resnet50d" in r.backbone]
    assert table_of(only, "scratch:resnet50d") == table_of(only)


def test_a_baseline_with_a_classifier_has_differences_of_top1(make_record: Make) -> None:
    records = [
        make_record(name, "classification", 0, {"top1": value})
        for name, value in (("resnet50d_mixup", 70.0), ("resnet50d_cosine", 64.0))
    ]
    header, rows = cells(table_of(records, "resnet50d_cosine"))
    assert dict(zip(header, rows[0], strict=True))["Δ top-1"] == "+6.0 not tested (1 of 2 seeds)"
    assert "Δ top-1" not in cells(table_of(records))[0]


def test_every_section_asks_for_the_same_row(records: list[Record], make_record: Make) -> None:
    more = [
        make_record(name, "classification", 0, {"top1": 60.0}, tricks=TRICKS.get(name, ()))
        for name in ("resnet50d_mixup", "resnet50d_cosine")
    ]
    found = [*records, *more]

    def material(baseline: str | None) -> Material:
        table = table_of(found, baseline)
        return Material(table=table, records=tuple(found), evidence=lambda _: None)

    plain = material(None)
    assert plain.reference_row("detection", "resnet50d_mixup") == "scratch:resnet50d"
    assert plain.reference_row("detection", "resnet18b_cosine") == "scratch:resnet18b"
    assert plain.reference_row("detection", "scratch:resnet18b") == "scratch:resnet18b"
    assert plain.reference_row("detection") == "scratch:resnet50d"
    # A control has no classifier: the plainest recipe stands in for it.
    assert plain.reference_row("classification") == "resnet50d_cosine"
    assert plain.reference_row("segmentation") is None
    assert plain.reference_row("classification", "scratch:resnet50d") is None
    chosen = material("resnet18b_cosine")
    assert chosen.reference_row("detection", "resnet50d_mixup") == "resnet18b_cosine"
    # Nothing stands in for a baseline that was asked for: the table's differences are dashes, too.
    assert chosen.reference_row("classification", "resnet50d_mixup") is None
    assert "The baseline resnet18b_cosine has no top-1" in " ".join(reading(chosen.table))
    assert "has no mAP" not in " ".join(reading(chosen.table))
    failed = [replace_status(r) for r in found if r.backbone == "scratch:resnet50d"]
    kept = [r for r in found if r.backbone != "scratch:resnet50d"]
    some = replace(plain, records=(*kept, *failed))
    assert some.reference_row("detection", "resnet50d_mixup") == "resnet50d_cosine"


def replace_status(record: Record) -> Record:
    return record.model_copy(update={"status": "failed", "metrics": {}, "message": "x"})


def test_another_way_to_write_a_row_is_that_row() -> None:
    rows = ["resnet50d_smooth", "scratch:resnet50d"]
    assert find_baseline("scratch:resnet50d", rows) == "scratch:resnet50d"
    assert find_baseline("resnet50d_mixup-epochs-mixup", rows) == "resnet50d_smooth"
    assert find_baseline("resnet50d_smo*", rows) == "resnet50d_smooth"
    for text in ("resnet50d_mixup", "nonsense", "", "/no/such/artifact"):
        with pytest.raises(UnknownNameError, match="there are resnet50d_smooth, scratch:resnet50d"):
            find_baseline(text, rows)


def test_an_unknown_baseline_is_wrong_usage(
    records: list[Record],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for record in records:
        write_record(Layout(tmp_path).records, record)
    assert main(["report", str(tmp_path), "--baseline", "resnet50d_rsb_a1"]) == 2
    error = capsys.readouterr().err
    assert "--baseline resnet50d_rsb_a1: no row of the table; there are resnet" in error
    assert not (tmp_path / "table.json").exists()
    asked = ["run", "--backbone", "resnet18b_cosine", "--dry-run", "--out", str(tmp_path / "new")]
    assert main([*asked, "--baseline", "resnet50d_cosine"]) == 2
    assert "there are resnet18b_cosine, scratch:resnet18b" in capsys.readouterr().err
    monkeypatch.setattr("eval.page.page.render_page", lambda *_: "")  # it draws for seconds
    assert main(["report", str(tmp_path), "--baseline", "resnet50d_cosine"]) == 0
    assert "minus the baseline resnet50d" in (tmp_path / "table.md").read_text()
