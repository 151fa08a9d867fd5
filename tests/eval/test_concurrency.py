"""Several runs on one OUT: nothing is lost, nothing done twice, nobody waits for the dead."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from eval.records import Record, read_records, write_record

Measured = Callable[[str], None]
MODES: dict[str, dict[str, str]] = {
    "flock": {},
    "files": {"TRICKLE_LOCKS": "files"},
    "none": {"FAKE_NO_FLOCK": "1", "FAKE_HEIR_SECONDS": "4"},
}
QUESTIONS = (
    ["resnet50d_mixup"],
    ["resnet50d_cosine", "resnet50d_mixup"],
    ["resnet50d_distill"],  # its teacher is pretrained first, once for all
    ["scratch:resnet50d"],
    ["resnet50d_mixup", "resnet50d_distill"],
    ["resnet50d_mixup_distill", "resnet50d_cosine"],
    ["resnet50d_cosine"],
    ["resnet50d_distill", "resnet50d_mixup"],
)


class Stages(Protocol):
    folder: Path

    def start(self, *arguments: str, **options: str) -> Any: ...

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


def spans(stages: Stages) -> dict[str, list[tuple[str, float, int]]]:
    """job -> (begins or ends, when, process), as they came."""
    found: dict[str, list[tuple[str, float, int]]] = {}
    for line in (stages.folder / "spans.txt").read_text().splitlines():
        job, what, when, pid = line.split()
        found.setdefault(job, []).append((what, float(when), int(pid)))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def check_runs_together(
    stages: Stages, questions: Sequence[Sequence[str]], behavior: dict[str, str]
) -> str:
    """Starts one run for each question at once; gives what was measured."""
    processes = [
        stages.start("--backbone", *question, "--out", "out", FAKE_SECONDS="0.2", **behavior)
        for question in questions
    ]
    said = [process.communicate(timeout=250) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(questions), said
    jobs = spans(stages)
    for events in jobs.values():
        assert [what for what, *_ in events] == ["begins", "ends"]  # once, by one process
        assert len({pid for *_, pid in events}) == 1
    records = read_records(stages.folder / "out" / "records")
    assert records.bad == ()
    made = Counter(record.task for record in records.by_key.values())
    ran = Counter(job.partition("-")[0] for job in jobs)
    assert made["detection"] == ran["detection"]
    assert made["segmentation"] == ran["segmentation"]
    assert made["classification"] == ran["pretraining"]
    backbones = {record.backbone for record in records.by_key.values()}
    assert backbones >= {name for question in questions for name in question}
    for (out, _), question in zip(said, questions, strict=True):
        for name in question:
            assert f"| {name}" in out  # every run ends with its whole table
        assert "failed" not in out
    json.loads((stages.folder / "out" / "table.json").read_text())
    assert list((stages.folder / "out" / "locks").iterdir()) == []
    shared = sum("by another run" in line for out, _ in said for line in out.splitlines())
    return (
        f"{len(questions)} runs, {len(jobs)} different jobs each done once, "
        f"{shared} results read from another run, {len(records.by_key)} records"
    )


@pytest.mark.reliability(
    9, "Runs that share an output folder and jobs do each job once and lose no record."
)
def test_two_runs_at_once(stages: Stages, measured: Measured) -> None:
    measured(check_runs_together(stages, QUESTIONS[:2], {}))


@pytest.mark.slow
@pytest.mark.reliability(
    9,
    "Eight runs that share an output folder and jobs do each job once and lose no record: with "
    "flock, with leases beside it, and without flock.",
)
@pytest.mark.parametrize("mode", MODES)
def test_eight_runs_at_once(stages: Stages, mode: str, measured: Measured) -> None:
    measured(f"{mode}: {check_runs_together(stages, QUESTIONS, MODES[mode])}")


@pytest.mark.slow
@pytest.mark.reliability(
    9,
    "Of eight runs in one folder up to four are killed at random times: no job ever runs twice at "
    "once, and what the killed ones had left is finished by the others and by the next.",
)
@pytest.mark.parametrize("mode", ["flock", "files"])
def test_eight_runs_of_which_four_are_killed(stages: Stages, mode: str, measured: Measured) -> None:
    chance = random.Random(9)
    asks = [("--backbone", *question, "--out", "out") for question in QUESTIONS]
    runs = [stages.start(*ask, FAKE_SECONDS="0.4", **MODES[mode]) for ask in asks]
    wait_until(lambda: (stages.folder / "spans.txt").exists())
    for run in runs[::2]:
        time.sleep(chance.uniform(0.2, 1))
        run.kill()
    ended = [run.communicate(timeout=250) for run in runs]
    codes = [run.returncode for run in runs]
    assert codes[1::2] == [0] * 4, ended
    followers = [stages.start(*ask, **MODES[mode]) for ask in asks[::2]]
    assert [(run.communicate(timeout=100), run.returncode)[1] for run in followers] == [0] * 4
    again = 0
    for events in spans(stages).values():
        assert [what for what, *_ in events] == ["begins", "ends"] * (len(events) // 2)
        for (_, _, begun), (_, _, over) in zip(events[::2], events[1::2], strict=True):
            assert begun == over  # nobody else came in between
        again += len(events) // 2 - 1
    records = read_records(stages.folder / "out" / "records")
    assert records.bad == ()
    assert {record.status for record in records.by_key.values()} == {"ok"}
    killed = codes.count(-signal.SIGKILL)
    assert killed >= 1
    measured(
        f"{mode}: {killed} of 8 killed, {len(spans(stages))} jobs, {again} begun again, "
        f"0 at the same time, {len(records.by_key)} records"
    )


def check_takeover(stages: Stages, mode: str) -> str:
    """Kills a run in the middle of a job, which goes on until somebody waits for it."""
    ask = ("--backbone", "resnet50d_mixup", "--out", "out")
    killed = stages.start(*ask, FAKE_HANG="pretraining", FAKE_STUBBORN="60", **MODES[mode])
    pid_file = stages.folder / "calls.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    orphan = int(pid_file.read_text())
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait(timeout=20)
    following = stages.start(*ask, **MODES[mode])
    said = ""
    while "waits for another run" not in said:
        said = following.stdout.readline()
        assert said, following.stderr.read()
    assert f"(process {killed.pid} on {os.uname().nodename})" in said
    os.kill(orphan, signal.SIGTERM)
    _, err = following.communicate(timeout=100)
    assert following.returncode == 0, err
    assert is_gone(orphan)
    (events,) = (events for job, events in spans(stages).items() if "pretraining" in job)
    assert [what for what, *_ in events] == ["begins", "ends", "begins", "ends"]
    assert [pid for *_, pid in events[:2]] == [orphan] * 2  # no second before the first ended
    assert len(read_records(stages.folder / "out" / "records").by_key) == 5
    return f"{mode}: taken over {events[2][1] - events[1][1]:.1f} s after the job had ended"


@pytest.mark.reliability(
    9, "The job of a killed run is taken over, once what the run had started is gone."
)
@pytest.mark.parametrize("mode", ["flock", "files"])
def test_a_killed_run_is_taken_over(stages: Stages, mode: str, measured: Measured) -> None:
    measured(check_takeover(stages, mode))


@pytest.mark.slow
@pytest.mark.reliability(
    9, "The same where there is no flock, after a pause in which the job notices and ends."
)
def test_a_killed_run_is_taken_over_without_flock(stages: Stages, measured: Measured) -> None:
    measured(check_takeover(stages, "none"))


def test_a_result_of_another_run_is_read_and_the_rest_goes_on_meanwhile(stages: Stages) -> None:
    ask = ("--backbone", "resnet50d_mixup", "--out", "out")
    first = stages.start(*ask, FAKE_HANG="pretraining")
    pid_file = stages.folder / "calls.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    second = stages.start(*ask)
    said = ""
    while "waits for another run" not in said:
        said = second.stdout.readline()
        assert said, second.stderr.read()
    assert f"(process {first.pid} on " in said
    assert "pretraining" in said
    scratch = ("detection-scratch", "segmentation-scratch")
    wait_until(lambda: sum(job.startswith(scratch) for job in spans(stages)) == 2)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err


def test_a_failure_that_comes_late_does_not_replace_a_result(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    good = make_record()
    bad = make_record(key=good.key, status="failed", message="too late", metrics={})
    write_record(tmp_path, good)
    assert write_record(tmp_path, bad) == good
    assert read_records(tmp_path).by_key[good.key].status == "ok"


def test_runs_in_one_folder_leave_each_other_alone_when_one_is_interrupted(
    stages: Stages,
) -> None:
    staying = stages.start("--backbone", "resnet50d_mixup", "--out", "out", FAKE_SECONDS="0.4")
    leaving: subprocess.Popen[str] = stages.start(
        "--backbone", "resnet50d_cosine", "--out", "out", FAKE_SECONDS="0.4"
    )
    wait_until(lambda: (stages.folder / "spans.txt").exists())
    time.sleep(0.2)
    leaving.send_signal(signal.SIGINT)
    leaving.communicate(timeout=20)
    _, err = staying.communicate(timeout=60)
    assert (leaving.returncode, staying.returncode) == (130, 0), err
