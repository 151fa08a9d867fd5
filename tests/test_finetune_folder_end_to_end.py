"""`trickle finetune FOLDER` for real, on a few colored squares: from images to a classifier that
can be asked, and nothing twice."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CALL = "from eval.cli import main; raise SystemExit(main())"


def trickle(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL, "finetune", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=900,
    )


@pytest.mark.slow
def test_from_class_folders_to_a_classifier_that_can_be_asked(
    tmp_path: Path, make_benchmark: Callable[..., Path]
) -> None:
    make_benchmark(tmp_path / "made")
    squares = tmp_path / "squares"
    (tmp_path / "made" / "imagenet" / "train").rename(squares)
    arguments = ("squares", "--backbone", "scratch:resnet18d", "scratch:resnet18b")
    more = ("--image-size", "32", "--recipe", "plain")
    done = trickle(tmp_path, *arguments, *more)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs" / "squares"
    with (out / "images.csv").open(newline="") as lines:
        tests = [row for row in csv.DictReader(lines) if row["split"] == "test"]
    assert len(tests) == 5  # a fifth of 24, rounded up
    assert len({row["label"] for row in tests}) == 3
    records = [json.loads(file.read_text()) for file in (out / "records").glob("*.json")]
    assert sorted(record["task"] for record in records) == ["finetune", "probes", "probes"]
    (tuned,) = (record for record in records if record["task"] == "finetune")
    assert (out / "report.html").is_file()

    from classification.predict import load_predictor

    predictor = load_predictor(out / "classifier")
    right = [
        max(said := predictor(row["path"]), key=said.__getitem__) == row["label"] for row in tests
    ]
    # Computed in other batches: of five images one may lie on the edge.
    top1 = tuned["metrics"]["tuned_top1"]["value"]
    assert 100 * sum(right) / len(right) == pytest.approx(top1, abs=20.1)

    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")}
    again = trickle(tmp_path, "squares", "--recipe", "plain")
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")} == before
