"""A pretraining whose disk fills up ends with one clear line and goes on when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.checkpoints import checkpoints
from engine.results import StageResult

ROOT = Path(__file__).parents[2]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which two checkpoints have room, not three."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3500k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.reliability(
    3,
    "A stage whose disk fills up ends with one error line and exit code 1; run again with room, it "
    "goes on from the old checkpoint.",
)
def test_a_stage_on_a_full_disk(
    make_benchmark: Callable[..., Path],
    tmp_path: Path,
    disk: Path,
    measured: Callable[[str], None],
) -> None:
    benchmark = make_benchmark(tmp_path / "squares", pretraining={"epoch_scale": 0.05})
    work_dir = disk / "work"

    def pretrain() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "classification.pretrain"]
        options = {
            "backbone": "resnet18d_standard",
            "benchmark": benchmark,
            "artifact": tmp_path / "artifact",
            "work-dir": work_dir,
            "result": tmp_path / "result.json",
        }
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        environment = {"OMP_NUM_THREADS": "1", "TRICKLE_CACHE": str(tmp_path / "cache")}
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
        )

    done = pretrain()
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: {work_dir}/iter_")
    assert "bytes are needed" in line
    assert [line for line in done.stderr.splitlines() if "error" in line] == [line]
    (newest, *_) = checkpoints(work_dir)
    assert list(work_dir.glob(".*")) == [], "no leftovers"

    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    again = pretrain()
    assert again.returncode == 0, again.stderr
    step = newest.stem.removeprefix("iter_")
    assert f"continues from step {step} of" in again.stderr
    assert StageResult.read(tmp_path / "result.json").status == "ok"
    measured(f"went on from step {step}")
