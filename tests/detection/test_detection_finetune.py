"""`detection/finetune.py` from an artifact and images on disk to a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.obtain import obtain
from engine.checkpoint_file import read_checkpoint
from engine.results import StageResult

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


def numbers(result: StageResult) -> dict[str, Any]:
    return result.model_dump(include={"metrics", "per_class", "protocol"})


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
