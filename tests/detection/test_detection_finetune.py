"""`detection/finetune.py` from an artifact and images on disk to a result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from backbones.obtain import obtain
from engine.checkpoint_file import read_checkpoint
from engine.evidence import FILE_NAME, Evidence, read_evidence
from engine.mmcv_ops import install
from engine.results import StageResult

install()
from mmdet.evaluation.functional import average_precision, eval_map  # noqa: E402

JOBS = {"first": 4, "again": 4, "other": 3, "resumed": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any, finetune: Any) -> Path:
    """Runs on the same random weights."""
    directory = tmp_path_factory.mktemp("detection")
    toml = make_benchmark(directory, detection={"iterations": 10})
    obtain("scratch:resnet18d", directory / "artifact", seed=0, width=0.125)
    done = finetune("detection.finetune", directory / "artifact", toml, directory, JOBS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.startswith("  detection, resnet18d (random), seed ") for line in lines), lines
    return directory


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, StageResult]:
    return {name: StageResult.read(folder / name / "result.json") for name in JOBS}


def last_weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(folder / name / "work/iter_10.safetensors")["state_dict"])


def test_a_result_says_what_was_measured(results: dict[str, StageResult]) -> None:
    result = results["first"]
    assert result.status == "ok"
    assert set(result.metrics) == {"mAP", "mAP_voc07", "mAP_area", "AP", "AP50", "AP75"}
    assert {metric.n for metric in result.metrics.values()} == {5}
    assert result.metrics["mAP"] == result.metrics["mAP_voc07"]
    per_class = result.per_class["mAP"]
    assert list(per_class) == ["blue", "green", "red"]
    present = [value for value in per_class.values() if value is not None]
    assert result.metrics["mAP"].value == pytest.approx(sum(present) / len(present))
    assert result.cost["iterations"] == 10
    assert result.protocol["budget"]["iterations"] == 10


@pytest.fixture(scope="module")
def evidence(folder: Path, results: dict[str, StageResult]) -> Evidence:
    return read_evidence(folder / "first" / FILE_NAME, sha256=results["first"].evidence_sha256)


def test_evidence_holds_what_was_scored(
    folder: Path, results: dict[str, StageResult], evidence: Evidence
) -> None:
    """The stage's figures, from the evidence alone, by MMDetection and by pycocotools."""
    arrays, classes = evidence.arrays, evidence.classes
    assert (evidence.task, classes) == ("detection", ("blue", "green", "red"))
    assert evidence.images == tuple(f"VOC2007/JPEGImages/test{n}.jpg" for n in range(5))
    assert arrays["size"].tolist() == [[60, 64]] * 5
    detections, annotations, objects, results_ = [], [], [], []
    for image in range(5):
        found, there = arrays["image"] == image, arrays["truth_image"] == image
        scored = np.column_stack([arrays["box"][found], arrays["score"][found]])
        labels = arrays["label"][found]
        detections.append([scored[labels == label] for label in range(3)])
        difficult = arrays["truth_difficult"][there].astype(bool)
        truth, truth_labels = arrays["truth_box"][there], arrays["truth_label"][there]
        annotations.append(
            {"bboxes": truth[~difficult], "labels": truth_labels[~difficult]}
            | {"bboxes_ignore": truth[difficult], "labels_ignore": truth_labels[difficult]}
        )
        for box, label, crowd in zip(truth.tolist(), truth_labels, difficult, strict=True):
            sides = [box[2] - box[0], box[3] - box[1]]
            objects.append(
                {"id": len(objects) + 1, "image_id": image, "category_id": int(label)}
                | {"bbox": [*box[:2], *sides], "area": sides[0] * sides[1], "iscrowd": int(crowd)}
            )
        for (x1, y1, x2, y2, score), label in zip(scored.astype(float), labels, strict=True):
            place = {"image_id": image, "category_id": int(label), "score": score}
            results_.append({"bbox": [x1, y1, x2 - x1, y2 - y1], **place})
    assert len(arrays["truth_box"]) == 10
    assert arrays["truth_difficult"].tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    _, by_class = eval_map(
        detections, annotations, logger="silent", nproc=1, use_legacy_coordinate=True
    )
    points = [average_precision(c["recall"], c["precision"], "11points") for c in by_class]
    metrics = {name: metric.value for name, metric in results["first"].metrics.items()}
    present = [c["num_gts"] > 0 for c in by_class]
    assert metrics["mAP"] == pytest.approx(
        100 * np.mean(np.array(points, float)[present]), abs=1e-9
    )
    areas = np.array([c["ap"] for c in by_class], float)[present]
    assert metrics["mAP_area"] == pytest.approx(100 * np.mean(areas), abs=1e-9)

    coco = COCO()
    coco.dataset = {"images": [{"id": n} for n in range(5)], "annotations": objects}
    coco.dataset["categories"] = [{"id": label} for label in range(3)]
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(results_), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    for name, value in zip(("AP", "AP50", "AP75"), evaluation.stats, strict=False):
        assert metrics[name] == pytest.approx(100 * value, abs=1e-9)


def test_the_samples_are_the_images(folder: Path, evidence: Evidence) -> None:
    """Of five images all; none is enlarged."""
    assert set(evidence.pictures) == {f"sample/{n}" for n in range(5)}
    for n in range(5):
        shown = cv2.imdecode(np.frombuffer(evidence.pictures[f"sample/{n}"], np.uint8), 1)
        image = cv2.imread(str(folder / "VOCdevkit" / evidence.images[n]))
        assert shown.shape == image.shape
        assert np.abs(shown.astype(int) - image).mean() < 12


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_leave_the_same_evidence(folder: Path, evidence: Evidence) -> None:
    """Of the same weights: both go on from the first run's end."""
    work = folder / "two" / "work"
    shutil.copytree(folder / "first/work", work)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["2", "-m", "detection.finetune", "--artifact", str(folder / "artifact")]
    command += ["--benchmark", str(folder / "squares.toml"), "--seed", "4", "--work-dir", str(work)]
    done = subprocess.run(
        [*command, "--result", str(folder / "two/result.json")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TRICKLE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = StageResult.read(folder / "two/result.json")
    both = read_evidence(folder / "two" / FILE_NAME, sha256=result.evidence_sha256)
    assert (both.images, both.pictures) == (evidence.images, evidence.pictures)
    for name, array in evidence.arrays.items():
        assert np.allclose(both.arrays[name], array, atol=1e-3), name


def numbers(result: StageResult) -> dict[str, Any]:
    return result.model_dump(include={"metrics", "per_class", "protocol", "evidence_sha256"})


def test_a_seed_decides_everything(folder: Path, results: dict[str, StageResult]) -> None:
    assert numbers(results["first"]) == numbers(results["again"])
    assert results["first"].metrics != results["other"].metrics
    first, again, other = (last_weights(folder, name) for name in ("first", "again", "other"))
    assert [name for name in first if not torch.equal(first[name], again[name])] == []
    # All that is drawn at random depends on the seed.
    drawn = [n for n, t in first.items() if t.ndim > 1 and not n.startswith("backbone.")]
    assert [name for name in drawn if torch.equal(first[name], other[name])] == []


def test_a_run_that_goes_on_ends_the_same(folder: Path, results: dict[str, StageResult]) -> None:
    assert numbers(results["resumed"]) == numbers(results["first"])
    first, resumed = (last_weights(folder, name) for name in ("first", "resumed"))
    assert [name for name in first if not torch.equal(first[name], resumed[name])] == []
