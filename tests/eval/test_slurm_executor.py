"""Jobs sent by submitit, here to its local executor, through the command line on fake stages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, cast

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
        "#SBATCH --no-requeue",  # else a preempted job would run beside the one sent in its place
        "#SBATCH --array=0-1",  # what needs nothing: pretraining, and weights of the control
    ):
        assert line in out
    assert stages.calls == []
    assert not (stages.folder / "out").exists()


def test_without_slurm_it_says_so(stages: Stages) -> None:
    code, _, err = stages.run(*ASK)
    assert code == 2
    assert "--executor slurm: no `sbatch`" in err
    assert "login node" in err
    assert "detect" not in err, "submitit's words"


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


@pytest.mark.slow
def test_what_reaches_its_time_limit_is_sent_again(stages: Stages) -> None:
    """Slurm, and submitit here, send SIGUSR2 to the process that ran the training."""
    run = stages.start(*ASK, FAKE_CLUSTER="local", FAKE_HANG="pretraining")
    pid = int(wait_for(lambda: (p := stages.folder / "calls.pid").exists() and p.read_text()))
    os.kill(parent(pid), signal.SIGUSR2)
    wait_for(lambda: sum(call.startswith("pretraining") for call in stages.calls) == 2)
    assert gone(pid)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, out + err
    assert "FAILED" not in out


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


TRAINING = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("checkpoint").touch(), sys.exit(143)))
pathlib.Path("trains").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_the_signal_before_a_time_limit_ends_the_training_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handlers: None, number: signal.Signals
) -> None:
    from eval import slurm_executor
    from eval.errand import Errand

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm_executor, "require_same_software", lambda _: None)
    errand = Errand(
        job="j",
        arguments=("-c", TRAINING),
        log=tmp_path / "log",
        lock=tmp_path / "lock",
        cores=1.0,
        environment={},
        software={},
    )

    def limit() -> None:
        wait_for((tmp_path / "trains").exists)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=limit)
    thread.start()
    ended = slurm_executor.run_checked(errand)
    thread.join()
    assert ended.returncode == 128 + number
    assert (tmp_path / "checkpoint").exists()
    sent = SimpleNamespace(_get_outcome_and_result=lambda: ("success", ended))
    # Not how it ended, but why it has to be sent again.
    assert isinstance(slurm_executor.SlurmExecutor._result(cast(Any, None), sent), str)


NO_ACCOUNTING = "echo 'Slurm accounting storage is disabled' >&2; exit 1"


@pytest.mark.parametrize(
    ("squeue", "sacct", "said"),
    [
        ("echo 8 RUNNING", NO_ACCOUNTING, "job 7 is LOST"),
        ("echo 7 RUNNING", NO_ACCOUNTING, None),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", NO_ACCOUNTING, None),
        ("true", "echo 'JobID|State|NodeList'; echo '7|RUNNING|n1'", "job 7 is LOST"),
        ("true", "echo 'JobID|State|NodeList'; echo '7|COMPLETED|n1'", "job 7 is COMPLETED"),
        ("echo 7 TIMEOUT", NO_ACCOUNTING, "job 7 is TIMEOUT"),
    ],
)
def test_a_job_that_is_not_there_any_more_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, sacct: str, said: str | None
) -> None:
    """None: it may still run, so that sending another would be wrong."""
    import submitit

    from eval import slurm_executor
    from eval.process import Stopped

    programs = {"squeue": squeue, "sacct": sacct, "srun": "true", "sbatch": "true"}
    for name, script in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name, seconds in {"ASK": 0.05, "LOST": 0.2, "RESULT": 0.1, "POLL": 0.02}.items():
        monkeypatch.setattr(slurm_executor, f"_{name}_SECONDS", seconds)
    executor = slurm_executor.SlurmExecutor(
        Layout(tmp_path), cast(Any, None), command="", options=slurm_executor.SlurmOptions()
    )
    submitit.SlurmJob.watcher.clear()
    sent: Any = submitit.SlurmJob(tmp_path, "7")
    if said is None:
        threading.Timer(1.0, executor.stop.set).start()
    job, told = SimpleNamespace(id="j"), SimpleNamespace(started=lambda: None)
    lock = SimpleNamespace(check=lambda: None)
    with pytest.raises(Stopped) if said is None else nullcontext():
        found = executor._wait(cast(Any, job), sent, cast(Any, lock), cast(Any, told))
        assert said is not None
        assert said in str(found)


def test_an_array_is_as_long_as_what_is_sent_together(tmp_path: Path) -> None:
    from eval.slurm_executor import SlurmOptions, sbatch_script

    script = sbatch_script(SlurmOptions(gpus=0), Layout(tmp_path), 3)
    assert "#SBATCH --array=0-2" in script
    assert "gpus" not in script
