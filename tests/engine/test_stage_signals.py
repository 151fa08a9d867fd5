"""Each of the three stages, as a program with data-loader workers, ends soon after a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones import create_backbone, save_artifact
from engine.checkpoints import checkpoints

ROOT = Path(__file__).parents[2]
ENDLESS = 100_000


SECONDS = 120


def pretraining(folder: Path, toml: Path) -> tuple[list[str], Path]:
    """A command's words, and its work directory."""
    options = {
        "backbone": "resnet18d_standard",
        "benchmark": toml,
        "artifact": folder / "artifact",
        "work-dir": folder / "work",
        "result": folder / "result.json",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return words, folder / "work"


def start(command: list[str], work_dir: Path, cache: Path) -> subprocess.Popen[str]:
    """Returns when it trains: mmengine's log has a first loss."""
    environment = {"OMP_NUM_THREADS": "1", "TRICKLE_CACHE": str(cache)}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **environment},
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + SECONDS
    while not any("loss:" in log.read_text() for log in work_dir.glob("*/*.log")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    return process


@pytest.mark.slow
@pytest.mark.reliability(
    10,
    "SIGTERM and Ctrl-C to the group of a real stage with workers: its step is saved, it ends "
    "within 10 s with 143 or 130, and nothing of it is left.",
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize(
    "stage", ["classification.pretrain", "detection.finetune", "segmentation.finetune"]
)
def test_a_signal_to_a_stage(
    make_benchmark: Callable[..., Path],
    tmp_path: Path,
    measured: Callable[[str], None],
    leaked_memory: Callable[[], set[str]],
    stage: str,
    number: signal.Signals,
) -> None:
    endless = {"iterations": ENDLESS, "workers": 2}
    toml = make_benchmark(
        tmp_path / "squares",
        pretraining={"epoch_scale": 500.0, "workers": 2},
        detection=endless,
        segmentation=endless,
    )
    words, work_dir = pretraining(tmp_path, toml)
    if stage != "classification.pretrain":
        words = words[2:]  # its artifact is the backbone
        backbone = create_backbone("resnet18d", width=0.125)
        save_artifact(tmp_path / "artifact", backbone, {"weights": "random"})
    process = start([stage, *words], work_dir, tmp_path / "cache")
    os.killpg(process.pid, number)
    started = time.monotonic()
    out, err = process.communicate(timeout=30)
    seconds = time.monotonic() - started
    assert process.returncode == 128 + number, err
    assert seconds < 10
    assert out == ""
    assert "Traceback" not in err
    (newest,) = checkpoints(work_dir)
    assert err.splitlines()[-1].endswith(f"goes on from step {newest.stem.removeprefix('iter_')}")
    with pytest.raises(ProcessLookupError):  # no process is left in its group
        os.killpg(process.pid, 0)
    assert leaked_memory() == set()
    measured(f"{stage.partition('.')[0]}, {number.name}: {seconds:.1f} s")


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.reliability(
    10, "SIGTERM to torchrun ends all processes of a training after the same step, which is saved."
)
def test_a_signal_to_two_processes(
    make_benchmark: Callable[..., Path], tmp_path: Path, measured: Callable[[str], None]
) -> None:
    budget = {"epoch_scale": 500.0, "batch_size_scale": 1 / 64}
    toml = make_benchmark(tmp_path / "squares", pretraining=budget)
    words, work_dir = pretraining(tmp_path, toml)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    process = start([*launcher, "classification.pretrain", *words], work_dir, tmp_path / "cache")
    process.terminate()
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - started
    assert seconds < 10
    (newest,) = checkpoints(work_dir)
    assert f"goes on from step {newest.stem.removeprefix('iter_')}" in err
    assert "gloo" not in err, "no process waited for one that was gone"
    measured(f"two processes: {seconds:.1f} s")
