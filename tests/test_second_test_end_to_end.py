"""Test-time augmentation through the stages: beside the plain test, which it leaves as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.obtain import obtain
from engine.evidence import FILE_NAME, read_evidence
from engine.results import StageResult
from engine.second_test import views_in
from eval.image_bootstrap import resample

ROOT = Path(__file__).parents[1]
MAIN = {"detection": "mAP", "segmentation": "mIoU"}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("task", list(MAIN))
def test_the_second_test_stands_beside_the_first_and_changes_nothing_of_it(
    tmp_path: Path, make_benchmark: Callable[..., Path], finetune: Any, task: str
) -> None:
    """One process, two processes that test the same weights, and the same without views."""
    toml = make_benchmark(tmp_path, **{task: {"iterations": 10}})
    artifact = tmp_path / "artifact"
    obtain("scratch:resnet18d", artifact, seed=0, width=0.125)
    views = tmp_path / "views.toml"
    asked = "test_time_flip = true\ntest_time_scales = [1.0, 1.5]\n"
    views.write_text(toml.read_text().replace(f"[{task}]\n", f"[{task}]\n{asked}"))
    module, main = f"{task}.finetune", MAIN[task]
    for file, name in ((toml, "plain"), (views, "views")):
        done = finetune(module, artifact, file, tmp_path, {name: 4})
        assert done.returncode == 0, done.stderr
    results = {n: StageResult.read(tmp_path / n / "result.json") for n in ("plain", "views")}
    plain, second = results["plain"], results["views"]
    metrics = dict(second.metrics)
    found = metrics.pop(f"{main}_tta")
    assert metrics == plain.metrics
    assert second.per_class == plain.per_class
    assert not {"test_seconds", "tta_seconds"} & set(plain.cost)
    assert min(second.cost["test_seconds"], second.cost["tta_seconds"]) > 0
    protocol = dict(second.protocol)
    assert protocol.pop("test_time") == {"scales": [1.0, 1.5], "flip": True}
    assert protocol == plain.protocol

    # What was kept of the views gives their number, and the rest is that of the plain test.
    seen = [read_evidence(tmp_path / name / FILE_NAME) for name in ("plain", "views")]
    assert seen[0].arrays.keys() == {n for n in seen[1].arrays if not n.startswith("tta/")}
    assert all(np.array_equal(seen[1].arrays[n], array) for n, array in seen[0].arrays.items())
    of_views = views_in(seen[1])
    assert of_views is not None
    scored = resample(of_views, np.ones((1, len(of_views.images)), np.uint8))
    name = {"mAP": "mAP_voc07"}.get(main, main)
    assert scored[name][0] == pytest.approx(found.value, abs=1e-3)

    work = tmp_path / "two" / "work"
    shutil.copytree(tmp_path / "views/work", work)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["2", "-m", module, "--artifact", str(artifact), "--benchmark", str(views)]
    command += ["--seed", "4", "--work-dir", str(work)]
    done = subprocess.run(
        [*command, "--result", str(tmp_path / "two/result.json")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TRICKLE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    two = StageResult.read(tmp_path / "two/result.json")
    assert two.metrics[f"{main}_tta"].n == found.n
    assert two.metrics[f"{main}_tta"].value == pytest.approx(found.value, abs=1e-3)
