"""COCO's and Cityscapes' layouts through the whole: one command from images on disk to a table."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.evidence import FILE_NAME, read_evidence
from eval.records import Record, read_records
from tests.other_layouts import IDS, NAMES, as_coco_and_cityscapes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Callable[..., Path]) -> Path:
    directory = tmp_path_factory.mktemp("layouts")
    toml = as_coco_and_cityscapes(make_benchmark(directory))
    command = [sys.executable, str(ROOT / "eval/run_transfer.py"), "--benchmark", str(toml)]
    done = subprocess.run(
        [*command, "--backbone", "scratch:resnet18d", "--out", "out"],
        cwd=directory,
        env={**os.environ, "TRICKLE_CACHE": str(directory / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return directory


def of_task(folder: Path, task: str) -> Record:
    records = read_records(folder / "out/records").by_key.values()
    return next(record for record in records if record.task == task)


@pytest.mark.slow
def test_the_map_is_cocos_of_the_file_itself(folder: Path) -> None:
    """By pycocotools, from the published annotations and the detections that were kept."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    record = of_task(folder, "detection")
    assert record.protocol["layout"] == "coco"
    assert "COCO AP" in record.protocol["metric"]
    (kept,) = [
        found
        for file in (folder / "out").rglob(FILE_NAME)
        if (found := read_evidence(file)).task == "detection"
    ]
    arrays, ids = kept.arrays, list(IDS.values())
    found = [
        {
            "image_id": int(Path(kept.images[image]).stem),
            "category_id": ids[label],
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for image, box, score, label in zip(
            arrays["image"].tolist(),
            arrays["box"].astype(np.float64).tolist(),
            arrays["score"].tolist(),
            arrays["label"].tolist(),
            strict=True,
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "coco/annotations/instances_val2017.json"))
        scored = COCOeval(truth, truth.loadRes(found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    for name, share in (("mAP", 0), ("AP", 0), ("AP50", 1), ("AP75", 2)):
        assert record.metrics[name].value == pytest.approx(100 * scored.stats[share], abs=1e-6)
    present = [value for value in record.per_class["mAP"].values() if value is not None]
    assert record.metrics["mAP"].value == pytest.approx(sum(present) / len(present))


@pytest.mark.slow
def test_the_miou_is_of_the_labels_that_are_named(folder: Path) -> None:
    record = of_task(folder, "segmentation")
    assert record.protocol["layout"] == "cityscapes"
    assert tuple(record.per_class["mIoU"]) == NAMES
    present = [value for value in record.per_class["mIoU"].values() if value is not None]
    assert record.metrics["mIoU"].value == pytest.approx(sum(present) / len(present))
    assert record.metrics["mIoU"].n == 4


@pytest.mark.slow
def test_the_table_has_both_and_no_published_number(folder: Path) -> None:
    table = json.loads((folder / "out/table.json").read_text())
    (row,) = table["rows"]
    assert row["metrics"]["mAP"]["mean"] is not None
    assert row["metrics"]["mIoU"]["mean"] is not None
    assert "He et al." not in (folder / "out/report.html").read_text()
