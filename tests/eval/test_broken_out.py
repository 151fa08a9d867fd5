"""An OUT that is full, read-only, deleted or odd: one clear line, and what was done stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from eval.records import read_records

Measured = Callable[[str], None]


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def start(self, *arguments: str, **options: str) -> Any: ...

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system of our own: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def ask(out: Path) -> tuple[str, ...]:
    return ("--backbone", "resnet50d_mixup", "--tasks", "detection", "--out", str(out))


@pytest.mark.reliability(
    3,
    "A run whose disk is full stops with the file that could not be written; what was done stays.",
)
def test_a_full_disk_stops_the_run_and_costs_no_record(
    stages: Stages, small_disk: Path, measured: Measured
) -> None:
    out = small_disk / "out"
    code, _, err = stages.run(*ask(out), FAKE_FILL="detection-resnet50d")
    assert code == 1
    *_, said = err.rpartition("error: ")  # before it the jobs themselves complain
    print(said)
    assert f"{out}/records/" in said
    assert "space" in said.lower()
    assert "the same command goes on from there" in said
    read = read_records(out / "records")
    assert read.bad == ()
    assert list((out / "records").glob(".*.tmp*")) == []
    kept = dict(read.by_key)
    assert kept
    (out / "filler").unlink()
    assert stages.run(*ask(out))[0] == 0
    after = read_records(out / "records").by_key
    assert len(after) == 3
    assert {key: after[key] for key in kept} == kept
    measured(f"{len(kept)} of {len(after)} records there when it stopped, all of them afterwards")


def test_an_out_that_cannot_be_written_is_wrong_usage(stages: Stages, small_disk: Path) -> None:
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    if subprocess.run(remount, capture_output=True).returncode:
        pytest.skip("no read-only file system of our own")
    for out, said in (
        (small_disk, ": nothing can be written there (Read-only file"),
        (small_disk / "new", " cannot be made: Read-only file"),
    ):
        code, _, err = stages.run(*ask(out))
        assert code == 2
        assert err.startswith(f"error: --out {out}{said}")
    assert stages.calls == []


def test_an_out_below_a_file_is_wrong_usage(stages: Stages) -> None:
    (stages.folder / "file").write_text("")
    code, _, err = stages.run(*ask(stages.folder / "file" / "out"))
    assert code == 2
    assert "give another --out" in err


def test_an_out_that_is_deleted_ends_the_run(stages: Stages) -> None:
    out = stages.folder / "out"
    process = stages.start(*ask(out), FAKE_HANG="pretraining")
    pid_file = stages.folder / "calls.pid"
    deadline = time.monotonic() + 30
    while not pid_file.exists() or not pid_file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while out.exists():  # the run may write while its folder goes
        shutil.rmtree(out, ignore_errors=True)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    *_, last = err.partition(f"error: {out}/locks/")  # before it the jobs themselves complain
    assert "deleted or moved" in last
    assert "Traceback" not in last
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert stages.run(*ask(out))[0] == 0


def test_records_that_are_deleted_meanwhile_are_missed(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval.execute import LocalExecutor

    out = stages.folder / "out"
    execute = LocalExecutor.execute

    def execute_and_delete(self: LocalExecutor, plan: Any) -> Any:
        outcome = execute(self, plan)
        shutil.rmtree(out / "records")
        return outcome

    monkeypatch.setattr(LocalExecutor, "execute", execute_and_delete)
    code, _, err = stages.run(*ask(out))
    assert code == 1
    assert f"3 of 3 records are not in {out}/records any more" in err


def test_logs_that_cannot_be_written_stop_nothing(stages: Stages) -> None:
    out = stages.folder / "out"
    out.mkdir()
    (out / "logs").write_text("a file stands in the way")
    code, _, err = stages.run(*ask(out))
    assert code == 0
    assert err.count("goes on without the log") == 4  # one for each job
    assert len(read_records(out / "records").by_key) == 3


def test_a_name_that_is_no_text_is_wrong_usage(stages: Stages) -> None:
    code, _, err = stages.run("--backbone", "resnet50d_mixup", "--out", "out\udcff")
    assert code == 2
    assert "not UTF-8" in err
    assert "\\udcff" in err
