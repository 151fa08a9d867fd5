"""Tables against values computed by hand; what is missing stays missing, what is odd is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.evidence import Evidence
from eval.image_bootstrap import ByImage
from eval.layout import Layout
from eval.notes import make_notes
from eval.records import Record
from eval.summary import RowName, Table, make_bootstrap, make_table
from eval.tables import (
    cells,
    duration,
    reading,
    to_csv,
    to_json,
    to_markdown,
    write_tables,
)

Make = Callable[..., Record]
TRAINED, CONTROL = "resnet50d_mixup", "scratch:resnet50d"
T2 = 4.302652729696142  # Student's t, 0.975, two degrees of freedom: 4.303 in printed tables
ROWS = (
    RowName(backbone=TRAINED, control=CONTROL, tricks=("warmup", "mixup")),
    RowName(backbone=CONTROL, control=None),
)


def table_of(
    records: Sequence[Record], seeds: Sequence[int] = (0, 1, 2), rows: Sequence[RowName] = ROWS
) -> Table:
    return make_table(
        records,
        benchmark="mini",
        rows=rows,
        seeds=seeds,
        tasks=("detection", "segmentation"),
    )


@pytest.fixture
def three_seeds(make_record: Make) -> list[Record]:
    """mAP 30, 32, 34 against 20, 21, 19: differences 10, 11, 15."""
    cost = {"seconds": 60.0, "backbone_parameters": 1.6e6, "backbone_gmacs": 0.28}
    records = []
    for seed, (trained, control) in enumerate([(30.0, 20.0), (32.0, 21.0), (34.0, 19.0)]):
        for name, value in ((TRAINED, trained), (CONTROL, control)):
            for task, metrics in (
                ("detection", {"mAP": value, "AP75": value / 2}),
                ("segmentation", {"mIoU": 50.0, "aAcc": 75.0}),
            ):
                records.append(make_record(name, task, seed, metrics, cost=cost))
        records.append(
            make_record(TRAINED, "classification", seed, {"top1": 60.0}, cost={"seconds": 100.0})
        )
    return records


def test_the_numbers_are_those_computed_by_hand(three_seeds: list[Record]) -> None:
    content = to_json(table_of(three_seeds))
    assert content["benchmark"] == "mini"
    assert content["baseline"] == CONTROL
    trained, control = content["rows"]
    score = trained["metrics"]["mAP"]
    assert (score["mean"], score["std"], score["n"], score["delta"]) == (32.0, 2.0, 3, 12.0)
    half, delta_half = T2 * 2 / 3**0.5, T2 * 7**0.5 / 3**0.5
    assert score["ci95"] == pytest.approx([32 - half, 32 + half])
    assert score["delta_ci95"] == pytest.approx([12 - delta_half, 12 + delta_half])
    assert trained["metrics"]["mIoU"]["delta"] == 0
    assert trained["metrics"]["AP75"]["mean"] == 16
    assert trained["metrics"]["top1"]["mean"] == 60
    assert trained["metrics"]["top1"]["delta"] is None
    assert trained["tricks"] == ["warmup", "mixup"]
    assert trained["control"] == CONTROL
    assert trained["cost"]["seconds"] == 220  # 100 + 60 + 60, each seed
    assert trained["cost"]["parameters"] == 1.6e6
    assert control["metrics"]["top1"] is None
    assert control["metrics"]["mAP"]["delta"] is None
    assert control["cost"]["seconds"] == 120


def test_a_person_reads_the_same(three_seeds: list[Record]) -> None:
    header, rows = cells(table_of(three_seeds))
    assert dict(zip(header, rows[0], strict=True)) == {
        "backbone": TRAINED,
        "top-1": "60.0 ± 0.0",
        "mAP": "32.0 ± 5.0",
        "Δ mAP": "+12.0 ± 6.6 *",
        "mIoU": "50.0 ± 0.0",
        "Δ mIoU": "+0.0 ± 0.0 no evidence",
        "aAcc": "75.0 ± 0.0",
        "Δ aAcc": "+0.0 ± 0.0 no evidence",
        "params": "1.60M",
        "GMACs": "0.28",
        "time": "3m40s",
    }
    assert rows[1][:4] == [CONTROL, "–", "20.0 ± 2.5", "–"]


def test_each_row_is_compared_with_its_own_architecture(make_record: Make) -> None:
    names = [
        ("resnet50d_mixup", "scratch:resnet50d", 30.0),
        ("resnet18b_mixup", "scratch:resnet18b", 25.0),
        ("scratch:resnet50d", None, 20.0),
        ("scratch:resnet18b", None, 24.0),
    ]
    records = [make_record(name, metrics={"mAP": value}) for name, _, value in names]
    rows = [RowName(backbone=name, control=control) for name, control, _ in names]
    content = to_json(table_of(records, seeds=(0,), rows=rows))
    assert content["baseline"] is None
    deltas = {row["backbone"]: row["metrics"]["mAP"]["delta"] for row in content["rows"]}
    assert deltas == {
        "resnet50d_mixup": 10,
        "resnet18b_mixup": 1,
        "scratch:resnet50d": None,
        "scratch:resnet18b": None,
    }


def test_missing_is_null_and_never_zero(make_record: Make) -> None:
    table = table_of([make_record(TRAINED, metrics={"mAP": None})], seeds=(0,))
    content = to_json(table)
    for row in content["rows"]:
        assert set(row["metrics"].values()) == {None}
        assert set(row["cost"].values()) == {None}
    for row in csv.DictReader(io.StringIO(to_csv(table))):
        named = ("backbone", "control", "compared_with")
        assert {value for key, value in row.items() if key not in named} <= {"", "warmup mixup"}
    assert all(set(line[1:]) == {"–"} for line in cells(table)[1])


def test_a_mean_over_fewer_seeds_says_so_and_why(
    three_seeds: list[Record], make_record: Make
) -> None:
    records = [
        make_record(
            r.backbone, r.task, r.seed, status="failed", message="error: no memory", metrics={}
        )
        if (r.backbone, r.task, r.seed) == (TRAINED, "detection", 2)
        else r
        for r in three_seeds
    ]
    table = table_of(records)
    header, rows = cells(table)
    line = dict(zip(header, rows[0], strict=True))
    assert line["mAP"].startswith("31.0 ± ")
    assert line["mAP"].endswith("(2 of 3 seeds, 1 failed)")
    assert line["Δ mAP"].startswith("+10.5 ± ")
    assert line["Δ mAP"].endswith("(2 of 3 seeds)")
    assert line["time"] == "3m40s"  # of the whole chains
    problem = to_json(table)["rows"][0]["problems"][0]
    assert problem == {
        "task": "detection",
        "seed": 2,
        "status": "failed",
        "message": "error: no memory",
    }
    assert "detection, seed 2: failed: no memory" in to_csv(table)
    assert "detection, seed 2: failed: no memory" in "\n".join(make_notes(table, records))


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_cell_without_any_number_names_its_end(make_record: Make, status: str) -> None:
    record = make_record(TRAINED, status=status, message="why", metrics={})
    header, rows = cells(table_of([record], seeds=(0,)))
    line = dict(zip(header, rows[0], strict=True))
    assert (line["mAP"], line["Δ mAP"], line["mIoU"]) == (status, "–", "–")


def test_seeds_that_were_not_asked_for_do_not_count(three_seeds: list[Record]) -> None:
    content = to_json(table_of(three_seeds, seeds=(1,)))
    score = content["rows"][0]["metrics"]["mAP"]
    assert (score["mean"], score["n"], score["delta"], score["ci95"]) == (32.0, 1, 11.0, None)


def test_a_difference_of_nothing_has_no_minus(make_record: Make) -> None:
    records = [make_record(TRAINED, metrics={"mAP": 29.99}), make_record(CONTROL)]
    header, rows = cells(table_of(records, seeds=(0,)))
    assert dict(zip(header, rows[0], strict=True))["Δ mAP"] == "+0.0 not tested"
    assert to_json(table_of(records, seeds=(0,)))["rows"][0]["metrics"]["mAP"]["verdict"] is None


def test_columns_of_a_task_that_was_not_asked_for_are_left_out(three_seeds: list[Record]) -> None:
    table = make_table(three_seeds, benchmark="mini", rows=ROWS, seeds=(0,), tasks=("detection",))
    header, _ = cells(table)
    assert header == ["backbone", "top-1", "mAP", "Δ mAP", "params", "GMACs", "time"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1"])
def test_no_csv_cell_can_start_a_formula(make_record: Make, name: str) -> None:
    row = RowName(backbone=name, control=name, tricks=(name,))
    record = make_record(name, status="failed", message=name, metrics={})
    (line,) = csv.DictReader(io.StringIO(to_csv(table_of([record], seeds=(0,), rows=[row]))))
    for key in ("backbone", "control", "tricks"):
        assert line[key] == f"'{name.strip()}"
    assert not line["problems"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_negative_differences_stay_numbers_in_csv(make_record: Make) -> None:
    records = [make_record(TRAINED, metrics={"mAP": 10.0}), make_record(CONTROL)]
    line = next(csv.DictReader(io.StringIO(to_csv(table_of(records, seeds=(0,))))))
    assert float(line["mAP_delta"]) == -20


def test_markdown_stays_one_table_whatever_the_names(make_record: Make) -> None:
    name = "timm:x@a|b\n| <script> `rm` *c*"
    row = RowName(backbone=name, control=None)
    record = make_record(name, status="failed", message="a|b\nc | d", metrics={})
    table = table_of([record], seeds=(0,), rows=[row])
    text = to_markdown(table, make_notes(table, [record]))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "\\<script>" in text
    assert "c \\| d" in text


def test_the_notes_say_how_it_was_measured(make_record: Make) -> None:
    environment = {
        "cpu": "a processor",
        "cpu_count": "2",
        "accelerator": "none",
        "torch": "2.14.1",
        "command": "trickle run --backbone resnet50d_mixup",
        "finished": "2026-11-22T03:00:00.000+00:00",
    }
    protocol = {
        "detector": "Faster R-CNN",
        "metric": "VOC AP at IoU 0.5, voc07_11point",
        "budget": {"image_size": [128, 96], "iterations": 300, "norm_eval": False},
        "data": "0123456789abcdef",
    }
    records = [
        make_record(name, seed=seed, environment=environment, protocol=protocol)
        for name in (TRAINED, CONTROL)
        for seed in (0, 1)
    ]
    text = "\n".join(make_notes(table_of(records, seeds=(0, 1)), records))
    for said in (
        "Seeds 0, 1",
        "Faster R-CNN; VOC AP at IoU 0.5, voc07_11point; image size 128x96; 300 iterations",
        "norm_eval false",
        "data 0123456789ab",
        "a processor, 2 CPUs",
        "torch 2.14.1",
        "2026-11-22",
        "`trickle run --backbone resnet50d_mixup`",
    ):
        assert said in text
    assert text.count("Detection") == 1


def test_markdown_reads_as_a_person_reads(three_seeds: list[Record]) -> None:
    lines = to_markdown(table_of(three_seeds), []).splitlines()
    assert f"| {TRAINED} | 60.0 ± 0.0 | 32.0 ± 5.0 | +12.0 ± 6.6 \\* | 50.0 ± 0.0 |" in lines[4]
    assert lines[4].endswith("| 1.60M | 0.28 | 3m40s |")


def test_a_note_that_is_a_sentence_has_one_full_stop(make_record: Make) -> None:
    records = [make_record(notes=(said,)) for said in ("a file was left out", "a step was lost.")]
    notes = make_notes(table_of(records), records)
    assert f"{TRAINED}, seed 0: a file was left out." in notes
    assert f"{TRAINED}, seed 0: a step was lost." in notes


def test_what_rows_have_in_common_is_said_once(make_record: Make) -> None:
    names = (TRAINED, CONTROL)
    records = [make_record(n, seed=s, notes=("slow.",)) for n in names for s in (0, 1)]
    records.append(make_record(TRAINED, seed=2, notes=("slow.", "alone")))
    notes = make_notes(table_of(records, seeds=(0, 1, 2)), records)
    assert [note for note in notes if "slow" in note or "alone" in note] == [
        f"{TRAINED}, seeds 0, 1, 2: slow.",
        f"{CONTROL}, seeds 0, 1: slow.",
        f"{TRAINED}, seed 2: alone.",
    ]
    same = [record for record in records if record.seed < 2]
    notes = make_notes(table_of(same, seeds=(0, 1)), same)
    assert [n for n in notes if "slow" in n] == [f"{TRAINED}, {CONTROL}, seeds 0, 1: slow."]
    failed = [make_record(n, status="failed", message="why", metrics={}) for n in names]
    notes = make_notes(table_of(failed), failed)
    assert f"{TRAINED}, {CONTROL}, detection, seed 0: failed: why" in notes


def test_the_table_for_a_paper_holds_the_scores_and_a_short_caption(
    three_seeds: list[Record], tmp_path: Path
) -> None:
    write_tables(tmp_path, table_of(three_seeds), [], ["Detection: data 0123456789ab"])
    tex = (tmp_path / "table.tex").read_text()
    assert r"\caption{Transfer on mini, seeds 0, 1, 2.}" in tex
    (head,) = [line for line in tex.splitlines() if line.startswith("backbone &")]
    assert head == r"backbone & top-1 & mAP & $\Delta$ mAP & mIoU & $\Delta$ mIoU \\"
    assert tex.index(r"\end{tabular}") < tex.index("Detection: data 0123456789ab.")


def test_four_files_are_written(three_seeds: list[Record], tmp_path: Path) -> None:
    table = table_of(three_seeds)
    paths = write_tables(tmp_path / "out", table, ["a note"])
    names = ["table.md", "table.csv", "table.json", "table.tex"]
    assert [path.name for path in paths] == names
    assert list(paths) == [path for path in Layout(tmp_path / "out").tables if path.name in names]
    assert paths[0].read_text() == to_markdown(table, ["a note"])
    assert paths[1].read_text() == to_csv(table)
    assert json.loads(paths[2].read_text()) == to_json(table)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0s"), (59.6, "1m00s"), (72, "1m12s"), (3700, "1h02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_seeds_that_were_not_computed_in_one_way_are_told(
    make_record: Callable[..., Record],
) -> None:
    def protocol(precision: str) -> dict[str, str]:
        return {"data": "d", "precision": precision}

    alike = [make_record(seed=seed, protocol=protocol("bfloat16")) for seed in (0, 1)]
    other = make_record(seed=2, protocol=protocol("float32"))
    told = "precision differs between seeds: bfloat16 (seed 0, 1); float32 (seed 2)"
    assert told not in "\n".join(make_notes(table_of(alike, seeds=(0, 1)), alike))
    mixed = [*alike, other]
    assert told in "\n".join(make_notes(table_of(mixed, seeds=(0, 1, 2)), mixed))


def test_p_values_are_scipys_and_corrected_over_the_rows(make_record: Make) -> None:
    control = [20.0, 21.0, 19.5]
    values = {"a": [21.0, 22.4, 20.1], "b": [25.0, 26.2, 24.3], "c": [20.2, 20.8, 19.6]}
    rows = [*(RowName(backbone=name, control=CONTROL) for name in values), ROWS[1]]
    records = [
        make_record(name, seed=seed, metrics={"mAP": value, "mIoU": 50.0})
        for name, of in {**values, CONTROL: control}.items()
        for seed, value in enumerate(of)
    ]
    content = to_json(table_of(records, rows=rows))
    scores = {row["backbone"]: row["metrics"]["mAP"] for row in content["rows"]}
    p = {name: stats.ttest_rel(of, control).pvalue for name, of in values.items()}
    assert p["b"] < p["a"] < p["c"]
    expected = {"b": 3 * p["b"], "a": 2 * p["a"], "c": p["c"]}
    assert 3 * p["b"] < 0.05 < 2 * p["a"] < p["c"]
    for name in values:
        assert scores[name]["p_value"] == pytest.approx(p[name])
        assert scores[name]["p_holm"] == pytest.approx(expected[name])
        assert scores[name]["decided_by"] == "seeds"
        assert scores[name]["delta_n"] == 3
        assert scores[name]["delta_by_image"] is None
    verdicts = {name: score["verdict"] for name, score in scores.items()}
    assert verdicts == {"a": "no evidence", "b": "better", "c": "no evidence", CONTROL: None}
    assert {scores[CONTROL][key] for key in ("p_value", "p_holm", "decided_by")} == {None}


def test_less_of_what_should_be_little_is_better(make_record: Make) -> None:
    def error(value: float) -> dict[str, Any]:
        return {"ece": {"value": value, "n": 100, "higher_is_better": False}}

    records = [
        Record.model_validate(
            {**make_record(name, seed=seed).model_dump(), "metrics": error(value)}
        )
        for name, values in ((TRAINED, [3.0, 3.1, 2.9]), (CONTROL, [9.0, 9.2, 9.3]))
        for seed, value in enumerate(values)
    ]
    (score, _) = (row["metrics"]["ece"] for row in to_json(table_of(records))["rows"])
    assert score["delta"] < 0
    assert score["verdict"] == "better"


def of_one_class(right: Sequence[int]) -> Evidence:
    """100 pixels in each image, of which so many are right."""
    counts = {"intersection": right, "predicted": [100] * len(right), "labeled": [100] * len(right)}
    # Near outlines as everywhere.
    counts |= {"boundary_intersection": right, "boundary_union": [200 - n for n in right]}
    return Evidence(
        task="segmentation",
        classes=("a",),
        images=tuple(map(str, range(len(right)))),
        arrays={name: np.array(values, np.int32)[:, None] for name, values in counts.items()},
    )


@pytest.fixture
def seen(make_record: Make) -> tuple[list[Record], dict[str, Evidence]]:
    """One seed; the trained one has 10 pixels more right in each of 40 images, 8 to 12 of 100."""
    rng = np.random.default_rng(0)
    control = rng.integers(30, 60, 40)
    sides = {TRAINED: control + np.tile([8, 9, 11, 12], 10), CONTROL: control}
    records, kept = [], {}
    for number, (name, right) in enumerate(sides.items()):
        accuracy = 100 * right.sum() / 4000
        iou = 100 * right.sum() / (8000 - right.sum())
        metrics = {"mIoU": float(iou), "aAcc": float(accuracy), "boundary_mIoU": float(iou)}
        sha256 = f"{number:064x}"
        records.append(make_record(name, "segmentation", 0, metrics, evidence_sha256=sha256))
        kept[sha256] = of_one_class(right.tolist())
    return records, kept


def image_table(records: Sequence[Record], kept: dict[str, Evidence], seeds: int = 1) -> Table:
    return make_table(
        records,
        benchmark="mini",
        rows=ROWS,
        seeds=range(seeds),
        tasks=("segmentation",),
        bootstrap=make_bootstrap(records, lambda r: kept.get(r.evidence_sha256 or "")),
    )


def test_of_one_seed_the_images_decide_and_it_says_so(
    seen: tuple[list[Record], dict[str, Evidence]],
) -> None:
    table = image_table(*seen)
    score = to_json(table)["rows"][0]["metrics"]["aAcc"]
    assert (score["p_value"], score["decided_by"], score["verdict"]) == (None, "images", "better")
    all_pixels, outlines = (
        to_json(table)["rows"][0]["metrics"][name] for name in ("mIoU", "boundary_mIoU")
    )
    assert outlines["delta_by_image"]["ci95"] == pytest.approx(all_pixels["delta_by_image"]["ci95"])
    assert outlines["verdict"] == "better"
    image = score["delta_by_image"]
    assert image["mean"] == pytest.approx(10)
    assert image["n_images"] == 40
    assert image["p_value"] == pytest.approx(score["p_holm"])
    # The standard deviation of 8, 9, 11, 12 is 1.58, of their mean over 40 images 0.25.
    half = 1.96 * 2.5**0.5 / 40**0.5
    assert image["ci95"] == pytest.approx([10 - half, 10 + half], abs=0.05)
    header, rows = cells(table)
    assert dict(zip(header, rows[0], strict=True))["Δ aAcc"] == "+10.0 * by image"
    text = to_markdown(table, make_notes(table, seen[0]))
    assert "| resnet50d_mixup | aAcc | +10.0 | – | 1 | – | +10.0 |" in text
    assert "better by image |" in text
    assert "1,000 draws" in text
    line = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(line["aAcc_delta_by_image"]) == pytest.approx(10)
    assert line["aAcc_verdict"] == "better"
    assert line["aAcc_decided_by"] == "images"
    assert line["aAcc_delta_by_image_n"] == "40"


def test_where_there_are_seeds_they_decide(
    seen: tuple[list[Record], dict[str, Evidence]], make_record: Make
) -> None:
    """The second training is as much worse as the first is better, of which no image tells."""
    records, kept = seen
    values = {TRAINED: 20.0, CONTROL: 30.0}
    second = [make_record(name, "segmentation", 1, {"aAcc": v}) for name, v in values.items()]
    table = image_table([*records, *second], kept, seeds=2)
    score = to_json(table)["rows"][0]["metrics"]["aAcc"]
    assert score["delta_by_image"]["p_value"] < 0.001
    assert (score["decided_by"], score["verdict"]) == ("seeds", "no evidence")


def test_equal_differences_leave_it_to_the_images(
    seen: tuple[list[Record], dict[str, Evidence]],
) -> None:
    records, kept = seen
    twice = [
        *records,
        *(
            Record.model_validate({**r.model_dump(), "seed": 1, "key": f"{9 - i:016x}"})
            for i, r in enumerate(records)
        ),
    ]
    score = to_json(image_table(twice, kept, seeds=2))["rows"][0]["metrics"]["aAcc"]
    assert score["delta_std"] == 0
    assert (score["p_value"], score["decided_by"], score["verdict"]) == (None, "images", "better")
    assert "no spread to test against" in "\n".join(make_notes(image_table(twice, kept, 2), twice))


def test_evidence_that_says_something_else_is_told_in_the_notes(
    seen: tuple[list[Record], dict[str, Evidence]],
) -> None:
    records, kept = seen
    table = image_table(records, {name: of_one_class([50] * 40) for name in kept})
    assert to_json(table)["rows"][0]["metrics"]["aAcc"]["delta_by_image"] is None
    notes = "\n".join(make_notes(table, records))
    assert "its evidence gives" in notes
    assert "2 of 2 differences have none by image" in notes


def test_a_thousand_rows_and_one(make_record: Make) -> None:
    names = [f"resnet50d_{number}" for number in range(999)]
    rows = [*(RowName(backbone=name, control=CONTROL) for name in names), ROWS[1]]
    record = make_record()
    records = [
        record.model_copy(
            update={
                "backbone": row.backbone,
                "seed": seed,
                "metrics": {"mAP": record.metrics["mAP"].model_copy(update={"value": 20.0 + seed})},
            }
        )
        for row in rows
        for seed in (0, 1)
    ]
    table = table_of(records, seeds=(0, 1), rows=rows)
    assert len(to_markdown(table, []).splitlines()) > 1999  # the table, and the differences
    assert len(to_csv(table).splitlines()) == 1001
    only = table_of(records, seeds=(0, 1), rows=rows[:1])  # without its control
    assert to_json(only)["rows"][0]["metrics"]["mAP"]["verdict"] is None
    assert to_markdown(only, []).count("| --- |") == 1


def fine_tunings(make_record: Make, *metrics: dict[str, float], seeds: int = 1) -> Table:
    records = [
        make_record(f"net~{name}", "finetune", seed, of)
        for name, of in zip("abc", metrics, strict=False)
        for seed in range(seeds)
    ]
    names = list(dict.fromkeys(record.backbone for record in records))
    return make_table(
        records,
        benchmark="mini",
        rows=[RowName(backbone=name, control=None) for name in names],
        seeds=range(seeds),
        tasks=("finetune",),
        baseline=names[0] if len(names) > 1 else None,
    )


def test_auc_and_the_score_on_views_stand_in_the_table_where_a_row_has_them(
    make_record: Make,
) -> None:
    plain = {"tuned_top1": 80.0, "macro_f1": 79.0}
    table = fine_tunings(make_record, plain, {**plain, "auc": 92.0, "tta_top1": 81.0})
    header, rows = cells(table)
    shown = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["AUC"] for row in shown] == ["–", "92.0"]
    assert [row["top-1 on views"] for row in shown] == ["–", "81.0"]
    assert header[1:7] == [
        *("tuned top-1", "Δ tuned top-1", "macro F1", "Δ macro F1"),
        *("AUC", "top-1 on views"),
    ]
    header, _ = cells(fine_tunings(make_record, plain, plain))
    assert not {"AUC", "top-1 on views"} & set(header)


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_a_difference_is_to_is_said_where_there_is_one(make_record: Make, seeds: int) -> None:
    row = {"tuned_top1": 80.0, "macro_f1": 79.0}
    assert "Δ" not in " ".join(reading(fine_tunings(make_record, row, seeds=seeds)))
    assert "Δ: minus" in " ".join(reading(fine_tunings(make_record, row, row, seeds=seeds)))


def test_no_number_of_a_program_is_a_negative_zero(make_record: Make) -> None:
    row = {"tuned_top1": 80.0, "macro_f1": 79.0}
    table = fine_tunings(make_record, row, row)
    first, second = table.rows
    score = second.metrics["tuned_top1"]
    assert score is not None
    nothing = ByImage(mean=-0.0, ci95=(0.0, -0.0), n_images=10, p_value=1.0)
    drawn = replace(score, delta_by_image=nothing, decided_by="images")
    changed = replace(second, metrics={**second.metrics, "tuned_top1": drawn})
    table = replace(table, rows=(first, changed))
    assert "-0.0" not in to_csv(table)
    assert "-0.0" not in json.dumps(to_json(table))
    assert "-0.0" not in to_markdown(table, [])
