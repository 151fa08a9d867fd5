"""`segmentation/finetune.py` from an artifact and images on disk to a result."""

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
from scipy.ndimage import binary_erosion

from backbones.obtain import obtain
from engine.checkpoint_file import read_checkpoint
from engine.evidence import FILE_NAME, Evidence, read_evidence
from engine.results import StageResult

JOBS = {"first": 4, "again": 4, "other": 3, "resumed": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any, finetune: Any) -> Path:
    """Runs on the same random weights."""
    directory = tmp_path_factory.mktemp("segmentation")
    toml = make_benchmark(directory, segmentation={"iterations": 10})
    obtain("scratch:resnet18d", directory / "artifact", seed=0, width=0.125)
    done = finetune("segmentation.finetune", directory / "artifact", toml, directory, JOBS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.startswith("  segmentation, resnet18d (random), seed ") for line in lines), (
        lines
    )
    return directory


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, StageResult]:
    return {name: StageResult.read(folder / name / "result.json") for name in JOBS}


def last_weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(folder / name / "work/iter_10.safetensors")["state_dict"])


def test_a_result_says_what_was_measured(results: dict[str, StageResult]) -> None:
    result = results["first"]
    assert result.status == "ok"
    assert set(result.metrics) == {"mIoU", "aAcc", "mAcc", "boundary_mIoU"}
    assert {metric.n for metric in result.metrics.values()} == {4}
    per_class = result.per_class["mIoU"]
    assert list(per_class) == ["blue", "green", "red"]
    present = [value for value in per_class.values() if value is not None]
    assert result.metrics["mIoU"].value == pytest.approx(sum(present) / len(present))
    assert result.cost["iterations"] == 10
    assert result.protocol["budget"]["crop_size"] == [48, 48]


@pytest.fixture(scope="module")
def evidence(folder: Path, results: dict[str, StageResult]) -> Evidence:
    return read_evidence(folder / "first" / FILE_NAME, sha256=results["first"].evidence_sha256)


def test_evidence_holds_what_was_scored(
    folder: Path, results: dict[str, StageResult], evidence: Evidence
) -> None:
    """The stage's figures from the evidence alone, and the evidence from its own masks."""
    arrays = evidence.arrays
    assert (evidence.task, evidence.classes) == ("segmentation", ("blue", "green", "red"))
    assert evidence.images == tuple(f"images/validation/{n}.jpg" for n in range(4))
    hits, predicted, labeled = (arrays[n] for n in ("intersection", "predicted", "labeled"))
    assert arrays["confusion"].diagonal().tolist() == hits.sum(0).tolist()
    assert arrays["confusion"].sum(0).tolist() == predicted.sum(0).tolist()
    assert arrays["confusion"].sum(1).tolist() == labeled.sum(0).tolist()
    for n in range(4):  # so few and small images that all are samples, as large as they are
        file = folder / "ADEChallengeData2016/annotations/validation" / f"{n}.png"
        label = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(int)
        label = np.where(label == 0, 255, label - 1)
        assert np.array_equal(arrays[f"sample_truth/{n}"], label)
        found = arrays[f"sample_prediction/{n}"]
        for number in range(3):
            ours, truth = (found == number) & (label != 255), label == number
            counts = [(ours & truth).sum(), ours.sum(), truth.sum()]
            assert [hits[n, number], predicted[n, number], labeled[n, number]] == counts
            # 40 x 48: a diagonal of 62 pixels, and a boundary of one.
            edges = [m & ~binary_erosion(m, np.ones((3, 3))) for m in (ours, truth)]
            assert arrays["boundary_intersection"][n, number] == (edges[0] & edges[1]).sum()
            assert arrays["boundary_union"][n, number] == (edges[0] | edges[1]).sum()

    def percent(part: np.ndarray, whole: np.ndarray) -> float:
        """MMSegmentation divides and means in single precision."""
        return 100 * float(np.mean(np.float32(part.sum(0)) / np.float32(whole.sum(0))))

    metrics = {name: metric.value for name, metric in results["first"].metrics.items()}
    union = predicted + labeled - hits
    assert metrics["mIoU"] == pytest.approx(percent(hits, union), abs=1e-9)
    assert metrics["mAcc"] == pytest.approx(percent(hits, labeled), abs=1e-9)
    boundary = (arrays[f"boundary_{name}"].sum(0) for name in ("intersection", "union"))
    shares = np.divide(*boundary)
    assert metrics["boundary_mIoU"] == pytest.approx(100 * shares.mean(), abs=1e-9)


def test_the_samples_are_the_images(folder: Path, evidence: Evidence) -> None:
    assert set(evidence.pictures) == {f"sample/{n}" for n in range(4)}
    for n in range(4):
        shown = cv2.imdecode(np.frombuffer(evidence.pictures[f"sample/{n}"], np.uint8), 1)
        image = cv2.imread(str(folder / "ADEChallengeData2016" / evidence.images[n]))
        assert shown.shape == image.shape
        assert np.abs(shown.astype(int) - image).mean() < 12


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_leave_the_same_evidence(folder: Path, evidence: Evidence) -> None:
    """Of the same weights: both go on from the first run's end."""
    work = folder / "two" / "work"
    shutil.copytree(folder / "first/work", work)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["2", "-m", "segmentation.finetune", "--artifact", str(folder / "artifact")]
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
        assert np.array_equal(both.arrays[name], array), name


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
