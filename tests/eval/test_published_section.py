"""On benchmark `paper` a number stands beside the published one; on others none appears at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.published import load_published
from benchmarks.schema import load_benchmark
from classification.protocol import pretraining_protocol
from classification.recipes import RECIPES
from detection.protocol import detection_protocol
from eval.beside_published import beside_published
from eval.cli import main
from eval.records import Record, write_record
from eval.sections.material import Material
from eval.sections.published import section
from eval.sections.section import Grid
from eval.selection import select_comparable
from eval.summary import make_table

Make = Callable[..., Record]


def pretrained(make_record: Make, backbone: str, **changes: Any) -> Record:
    architecture, _, recipe = backbone.partition("_")
    protocol = pretraining_protocol(
        architecture, RECIPES[recipe], load_benchmark("paper"), "d" * 64
    )
    protocol["budget"] |= changes
    return make_record(
        backbone,
        task="classification",
        benchmark="paper",
        protocol=json.loads(json.dumps(protocol)),
        metrics={"top1": 78.5},
    )


def detected(make_record: Make, backbone: str, **changes: Any) -> Record:
    protocol = detection_protocol(load_benchmark("paper"), "d" * 64)
    plain = json.loads(json.dumps(protocol))
    return make_record(
        backbone,
        benchmark="paper",
        protocol=plain | changes,
        metrics={"mAP": 80.0},
    )


@pytest.mark.parametrize(
    "backbone",
    ["resnet50d_standard", "resnet50d_efficient", "resnet50d_smooth", "resnet50d_mixup_distill"],
)
def test_the_benchmark_paper_is_what_the_paper_states_of_pretraining(
    make_record: Make, backbone: str
) -> None:
    record = pretrained(make_record, backbone)
    if backbone == "resnet50d_standard":  # published for ResNet-50-B alone
        assert beside_published("paper", backbone, "top1", [record]) == ()
        return
    for found in beside_published("paper", backbone, "top1", [record]):
        assert found.verdict.startswith("same in image size, evaluation, epochs, batch size")
        assert "differs" not in found.verdict
        assert found.brief == "same"
        assert "arXiv:1812.01187), Table" in found.source


def test_what_differs_is_named(make_record: Make) -> None:
    record = pretrained(make_record, "resnet50d_smooth", image_size=192, epoch_scale=0.5)
    verdict = beside_published("paper", "resnet50d_smooth", "top1", [record])[0].verdict
    assert verdict.startswith("differs: image size: 224 x 224; here budget.image_size = 192")
    assert "budget.epoch_scale = 0.5" in verdict


def test_detection_says_what_the_paper_leaves_open(make_record: Make) -> None:
    records = [
        detected(make_record, "resnet50d_mixup"),
        pretrained(make_record, "resnet50d_mixup", epoch_scale=0.5),
    ]
    (found,) = beside_published("paper", "resnet50d_mixup", "mAP", records)
    assert found.value == "81.10"
    assert found.source.endswith("Table 8")
    assert found.brief == "differs: detector, warm-up, pretraining's epochs"
    assert "pretraining's epochs: 200; here budget.epoch_scale = 0.5" in found.verdict
    assert "with FPN" in found.verdict
    not_stated = found.verdict.partition("not stated: ")[2]
    assert "image size" in not_stated
    assert "metric variant" in not_stated


def material(records: list[Record], benchmark: str) -> Material:
    selection = select_comparable(records)
    table = make_table(
        selection.kept,
        benchmark=benchmark,
        rows=selection.rows,
        seeds=selection.seeds,
        tasks=selection.tasks,
    )
    return Material(table=table, records=selection.kept, evidence=lambda record: None)


def test_the_section_stands_on_paper_alone(make_record: Make) -> None:
    records = [
        detected(make_record, "resnet50d_mixup"),
        detected(make_record, "resnet50d_rsb_a2"),
        detected(make_record, "scratch:resnet50d"),
    ]
    made = section(material(records, "paper"))
    assert made is not None
    grid = made.blocks[0]
    assert isinstance(grid, Grid)
    texts = [[cell.text for cell in row] for row in grid.rows]
    (mean_ap,) = [row for row in texts if row[1] == "mAP"]
    assert mean_ap[:5] == ["resnet50d_mixup", "mAP", "80.00 (1 seed)", "81.10", "-1.10"]
    without = [row for row in texts if row[1] == "top1"]
    assert {row[2] for row in without} == {"–"}
    assert made.left_out == ("resnet50d_rsb_a2: no published number is known",)
    assert section(material(records, "mini")) is None


@pytest.mark.parametrize("benchmark", ["mini", "paper"])
def test_published_numbers_in_what_is_written(
    tmp_path: Path, make_record: Make, benchmark: str
) -> None:
    """Of all written forms those of another benchmark hold none; those of `paper` do."""
    for recipe in ("standard", "smooth", "mixup"):
        for task, metrics in (
            ("classification", {"top1": 50.0}),
            ("detection", {"mAP": 30.0}),
            ("segmentation", {"mIoU": 20.0, "aAcc": 40.0}),
        ):
            record = make_record(
                f"resnet50d_{recipe}", task=task, metrics=metrics, benchmark=benchmark
            )
            write_record(tmp_path / "records", record)
    assert main(["report", str(tmp_path)]) == 0
    written = {
        path.name: path.read_text() for path in tmp_path.iterdir() if path.suffix and path.is_file()
    }
    assert {"table.md", "table.csv", "table.json", "table.tex", "report.html"} <= set(written)
    # Without the drawings, whose coordinates may be any numbers.
    words = {name: re.sub(r"<svg.*?</svg>", "", text, flags=re.S) for name, text in written.items()}
    values = "|".join(re.escape(f"{n.value:.2f}") for n in load_published().numbers)
    published = re.compile(rf"(?<![\d.])({values})(?!\d)")
    found = {name for name, text in words.items() if published.search(text)}
    assert found == ({"report.html"} if benchmark == "paper" else set())
    # Other sections may name a paper's hypothesis, and no number of it.
    for words_of_section in ("Against the published numbers", "Table 8", "Published top1"):
        assert (words_of_section in written["report.html"]) == (benchmark == "paper")
