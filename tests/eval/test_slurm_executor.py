"""Jobs sent by submitit, here to its local executor, through the command line on fake stages."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from eval.layout import Layout

pytest.importorskip("submitit", reason="the extra [cluster]")

ASK = ("--backbone", "resnet50d_mixup", "--out", "out", "--executor", "slurm")


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def start(self, *arguments: str, **options: str) -> subprocess.Popen[str]: ...

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def mean(stages: Stages, name: str, metric: str) -> float:
    table = json.loads((stages.folder / "out" / "table.json").read_text())
    row = next(row for row in table["rows"] if row["backbone"] == name)
    return float(row["metrics"][metric]["mean"])


def test_a_dry_run_shows_what_would_be_submitted(stages: Stages) -> None:
    code, out, err = stages.run(
        *ASK, "--dry-run", "--slurm-partition", "gpu", "--slurm-time", "90", "--slurm-gpus", "2",
        "--slurm-set", "account=vision",
    )  # fmt: skip
    assert code == 0, err
    for line in (
        "#SBATCH --partition=gpu",
        "#SBATCH --time=90",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --account=vision",
        "#SBATCH --array=0-1",  # what needs nothing: pretraining, and weights of the control
    ):
        assert line in out
    assert stages.calls == []
    assert not (stages.folder / "out").exists()


def test_without_slurm_it_says_so(stages: Stages) -> None:
    code, _, err = stages.run(*ASK)
    assert code == 2
    assert "--executor slurm" in err
    assert "sbatch" in err


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port", "ray://127.0.0.1:1"])
def test_a_ray_cluster_that_is_not_there_is_wrong_usage(stages: Stages, address: str) -> None:
    pytest.importorskip("ray", reason="the extra [cluster]")
    code, _, err = stages.run(*ASK[:-1], "ray", "--ray-address", address)
    assert code == 2
    assert f"--ray-address {address}" in err


def test_options_of_another_executor_are_a_mistake(stages: Stages) -> None:
    code, _, err = stages.run(*ASK[:-1], "local", "--slurm-time", "90")
    assert code == 2
    assert "--slurm-time goes with --executor slurm" in err


@pytest.mark.parametrize(("executor", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_library_that_is_missing_is_named(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, executor: str, library: str
) -> None:
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == library else found(name, *a)
    )
    code, _, err = stages.run(*ASK[:-1], executor)
    assert code == 2
    assert "pip install 'trickle[cluster]'" in err
    assert library in err


@pytest.mark.slow
def test_the_table_is_that_of_the_local_executor(stages: Stages) -> None:
    run = stages.start(*ASK, FAKE_CLUSTER="local")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    assert len(stages.calls) == 6
    assert mean(stages, "resnet50d_mixup", "mAP") == 30  # what the fake stage reports
    assert mean(stages, "scratch:resnet50d", "mIoU") == 20
    assert not list((stages.folder / "out" / "locks").iterdir())
    assert not list((stages.folder / "out" / "logs" / "slurm").glob("*.sent"))


@pytest.mark.slow
def test_a_crash_costs_one_cell(stages: Stages) -> None:
    run = stages.start(*ASK, FAKE_CLUSTER="local", FAKE_CRASH="detection-resnet50d_mixup")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1, out + err
    assert "FAILED: RuntimeError: the disk fell out of" in out
    assert mean(stages, "resnet50d_mixup", "mIoU") == 30


@pytest.mark.slow
def test_ctrl_c_cancels_what_was_sent(stages: Stages) -> None:
    run = stages.start(*ASK, FAKE_CLUSTER="local", FAKE_HANG="pretraining")
    pid = int(wait_for(lambda: (p := stages.folder / "calls.pid").exists() and p.read_text()))
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, out + err
    assert gone(pid)


@pytest.mark.slow
def test_the_call_after_a_killed_driver_waits_for_what_was_sent(stages: Stages) -> None:
    run = stages.start(*ASK, FAKE_CLUSTER="local", FAKE_SECONDS="6")
    wait_for(lambda: len(stages.calls) >= 2)
    run.kill()
    run.communicate()
    again = stages.start(*ASK, FAKE_CLUSTER="local")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, out + err
    assert len(stages.calls) == len(set(stages.calls)) == 6  # each job once
    assert mean(stages, "resnet50d_mixup", "mAP") == 30


def test_an_array_is_as_long_as_what_is_sent_together(tmp_path: Path) -> None:
    from eval.slurm_executor import SlurmOptions, sbatch_script

    script = sbatch_script(SlurmOptions(gpus=0), Layout(tmp_path), 3)
    assert "#SBATCH --array=0-2" in script
    assert "gpus" not in script
