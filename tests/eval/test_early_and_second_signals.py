"""Ctrl-C before anything has begun, and once more while a run is ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from eval.cli import main

Measured = Callable[[str], None]
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import sys; from eval.cli import main; sys.exit(main())"]


class Stages(Protocol):
    folder: Path

    def start(self, *arguments: str, **options: str) -> Any: ...


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


# Ends in its own time, as a stage does that writes a checkpoint.
SLOW_TO_END = """
import os, signal, sys, time
from pathlib import Path
def end(number, frame):
    time.sleep({seconds})
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
Path(os.environ["FAKE_CALLS"]).with_suffix(".pid").write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.parametrize(("apart", "most"), [(0.1, 5.0), (1.3, 2.5)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.reliability(
    10, "When a run ends that was interrupted twice, no process of its job is alive."
)
def test_a_second_signal_leaves_no_job_behind(
    stages: Stages,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    apart: float,
    most: float,
    measured: Measured,
) -> None:
    seconds = 1.0 if apart < 1 else 30.0  # the job's own end; a later signal does not wait for it
    (stages.folder / "slow_stage.py").write_text(SLOW_TO_END.format(seconds=seconds))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(stages.folder), os.environ["PYTHONPATH"]])
    )
    ask = ("--backbone", "resnet50d_mixup", "--tasks", "detection", "--out", "out")
    process = stages.start(*ask, FAKE_PRETRAINING="slow_stage")
    pid_file = stages.folder / "calls.pid"
    wait_for(pid_file)
    process.send_signal(number)
    time.sleep(apart)
    process.send_signal(number)
    asked = time.monotonic()
    process.wait(timeout=20)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    took = time.monotonic() - asked
    _, err = process.communicate()
    assert process.returncode == 128 + number, err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert list((stages.folder / "out" / "locks").glob("*.lock")) == []
    assert took < most
    measured(f"{number.name}, {apart} s apart: over {took:.1f} s after the second, 0 orphans")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_is_one_line(tmp_path: Path, number: signal.Signals) -> None:
    # An import that takes long, and says that it has begun.
    (tmp_path / "pydantic.py").write_text(
        "import time; print('importing', flush=True); time.sleep(30)"
    )
    process = subprocess.Popen(
        [*COMMAND, "show", "resnet50d_mixup"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert err == "\nInterrupted.\n"


@pytest.mark.parametrize(
    ("arguments", "at_work"),
    [
        (["run", "--list"], "eval.listing.make_listing"),
        (["run", "--backbone", "resnet50d_mixup", "--dry-run"], "eval.transfer.dry_run"),
        (["finetune", "images", "--dry-run"], "eval.finetune_folder.dry_run_folder"),
    ],
)
def test_what_only_tells_has_nothing_to_go_on_with(
    arguments: list[str],
    at_work: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(at_work, interrupted)
    assert main(arguments) == 130
    assert capfd.readouterr().err == "\nInterrupted.\n"


def test_a_job_that_is_still_importing_ends_without_a_traceback(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stages.folder / "importing.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        'Path(os.environ["FAKE_CALLS"]).with_suffix(".pid").write_text("here")\ntime.sleep(60)\n'
    )
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(stages.folder), os.environ["PYTHONPATH"]])
    )
    ask = ("--backbone", "resnet50d_mixup", "--tasks", "detection", "--out", "out")
    process = stages.start(*ask, FAKE_PRETRAINING="importing")
    wait_for(stages.folder / "calls.pid")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    said, *more = err.strip().splitlines()
    assert said == "Interrupted. What is finished stays; the same command goes on from there."
    # Where the other job has ended before.
    assert more in ([], ["A table of what is done so far: trickle report out"])


def test_a_standard_output_that_is_full_is_named() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*COMMAND, "list"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == ("error: standard output cannot be written: No space left on device\n")
