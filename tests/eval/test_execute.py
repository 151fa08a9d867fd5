"""The executor, through the command line on fake stages: a crash costs one cell, Ctrl-C nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import pytest

from engine.evidence import FILE_NAME, Evidence, read_evidence
from engine.locks import Lock
from engine.threads import CORES_VARIABLE
from eval.cli import main
from eval.execute import default_slots
from eval.records import Record, read_record, read_records, write_record
from eval.transfer import Run

ASK = ("--backbone", "resnet50d_mixup", "--out", "out")


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def start(self, *arguments: str, **options: str) -> Any: ...

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


def cells(stages: Stages) -> dict[tuple[str, str], Record]:
    records = read_records(stages.folder / "out" / "records")
    assert records.bad == ()
    return {(record.backbone, record.task): record for record in records.by_key.values()}


def row(stages: Stages, name: str) -> dict[str, Any]:
    table = json.loads((stages.folder / "out" / "table.json").read_text())
    return next(row for row in table["rows"] if row["backbone"] == name)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_all_done_gives_0_and_a_table(stages: Stages) -> None:
    code, out, err = stages.run(*ASK)
    assert code == 0, err
    assert len(stages.calls) == 6
    trained, control = row(stages, "resnet50d_mixup"), row(stages, "scratch:resnet50d")
    assert trained["metrics"]["mAP"]["mean"] == 30  # what the fake stage reports
    assert trained["metrics"]["mAP"]["delta"] == 10
    assert trained["cost"]["seconds"] == 30  # three stages of 10 s
    assert trained["cost"]["parameters"] == 1_500_000
    assert control["metrics"]["top1"] is None
    assert control["metrics"]["mIoU"]["delta"] is None
    for said in ("[6/6]", "mAP 30.0", "top1 30.0", "| resnet50d\\_mixup", "out/table.md"):
        assert said.replace("\\", "") in out.replace("\\", "")


def test_a_second_call_runs_nothing_and_gives_the_same_table(stages: Stages) -> None:
    stages.run(*ASK)
    before = {p: p.read_bytes() for p in (stages.folder / "out").glob("table.*")}
    started = time.monotonic()
    code, out, _ = stages.run(*ASK)
    assert time.monotonic() - started < 5
    assert code == 0
    assert len(stages.calls) == 6
    assert "6 are done already" in out
    assert {p: p.read_bytes() for p in (stages.folder / "out").glob("table.*")} == before


def test_a_crash_costs_one_cell_and_is_tried_again(stages: Stages) -> None:
    code, out, _ = stages.run(*ASK, FAKE_CRASH="detection-resnet50d_mixup")
    assert code == 1
    assert len(stages.calls) == 6
    (crashed,) = [call for call in stages.calls if call.startswith("detection-resnet50d_mixup")]
    failed = cells(stages)["resnet50d_mixup", "detection"]
    assert failed.status == "failed"
    assert failed.message is not None
    assert failed.message.startswith("Traceback")
    assert failed.message.endswith("the disk fell out of " + crashed)
    assert "FAILED: RuntimeError: the disk fell out of" in out
    assert row(stages, "resnet50d_mixup")["metrics"]["mAP"] is None
    assert row(stages, "resnet50d_mixup")["metrics"]["mIoU"]["mean"] == 30
    assert "| failed |" in (stages.folder / "out" / "table.md").read_text()

    code, _, _ = stages.run(*ASK)
    assert code == 0
    assert stages.calls[6:] == [crashed]
    assert cells(stages)["resnet50d_mixup", "detection"].status == "ok"
    assert "failed" not in (stages.folder / "out" / "table.md").read_text()


def test_what_depends_on_a_crash_is_not_begun_and_says_why(stages: Stages) -> None:
    code, out, _ = stages.run(*ASK, FAKE_CRASH="pretraining")
    assert code == 1
    assert sorted(call.partition("-")[0] for call in stages.calls) == [
        "detection",
        "pretraining",
        "segmentation",
        "weights",
    ]
    failed = cells(stages)["resnet50d_mixup", "segmentation"]
    assert failed.status == "failed"
    assert failed.message is not None
    assert "pretraining of resnet50d_mixup, seed 0" in failed.message
    assert "the disk fell out" in failed.message
    assert out.count("(not begun)") == 2
    assert out.count("pretraining of resnet50d_mixup, seed 0, failed: see above") == 2
    # When it ended; below the table in the classifier's line, and in one of both fine-tunings.
    assert out.count("the disk fell out") == 3
    assert row(stages, "scratch:resnet50d")["metrics"]["mAP"]["mean"] == 20


def test_a_failing_teacher_takes_its_students_with_it_and_no_others(stages: Stages) -> None:
    code, _, _ = stages.run(
        "--backbone", "resnet50d_distill", "--out", "out", FAKE_CRASH="resnet152d"
    )
    assert code == 1
    found = cells(stages)
    assert found["resnet152d_smooth", "classification"].status == "failed"
    for task in ("classification", "detection", "segmentation"):
        assert "resnet152d_smooth" in (found["resnet50d_distill", task].message or "")
    assert found["scratch:resnet50d", "detection"].status == "ok"


def test_weights_that_cannot_be_had_fail_their_row(stages: Stages) -> None:
    code, _, _ = stages.run(*ASK, FAKE_CRASH="weights-scratch")
    assert code == 1
    failed = cells(stages)["scratch:resnet50d", "detection"]
    assert "weights of scratch:resnet50d, seed 0" in (failed.message or "")
    assert row(stages, "resnet50d_mixup")["metrics"]["mAP"]["delta"] is None


def test_diverged_is_a_result_that_is_not_tried_again(stages: Stages) -> None:
    code, _, _ = stages.run(*ASK, FAKE_DIVERGE="pretraining")
    assert code == 0
    found = cells(stages)
    for task in ("classification", "detection", "segmentation"):
        assert found["resnet50d_mixup", task].status == "diverged"
    assert "| diverged |" in (stages.folder / "out" / "table.md").read_text()
    calls = len(stages.calls)
    assert stages.run(*ASK)[0] == 0
    assert len(stages.calls) == calls


def test_a_process_that_ends_well_without_a_result_has_failed(stages: Stages) -> None:
    assert stages.run(*ASK, FAKE_SILENT="segmentation-scratch weights")[0] == 1
    found = cells(stages)
    assert "no artifact" in (found["scratch:resnet50d", "segmentation"].message or "")
    assert found["resnet50d_mixup", "segmentation"].status == "ok"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(
    stages: Stages, number: signal.Signals, code: int
) -> None:
    process = stages.start(*ASK, FAKE_HANG="segmentation-resnet50d")
    pid_file = stages.folder / "calls.pid"
    wait_for(pid_file)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "the same command goes on from there" in err
    last = "A table of what is done so far: trickle report out"
    assert err.splitlines()[-1] == last
    assert main(last.split()[-2:]) == 0
    assert row(stages, "resnet50d_mixup")["metrics"]["mAP"]["mean"] == 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    finished = set(cells(stages))
    assert ("resnet50d_mixup", "classification") in finished
    assert ("resnet50d_mixup", "segmentation") not in finished
    before = len(stages.calls)
    assert stages.run(*ASK)[0] == 0
    again = stages.calls[before:]
    assert any(call.startswith("segmentation-resnet50d_mixup") for call in again)
    assert len(again) == len(cells(stages)) - len(finished)  # nothing that was finished
    assert len(cells(stages)) == 5


def test_an_interrupted_run_beside_another_benchmark_names_the_report_of_its_own(
    stages: Stages, make_record: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(run: Run) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "execute", interrupted)
    records = stages.folder / "out" / "records"
    write_record(records, make_record(benchmark="another"))
    code, _, err = stages.run(*ASK)
    assert code == 130
    assert "trickle report" not in err  # there would be nothing in its table
    write_record(records, make_record(benchmark="mini"))
    code, _, err = stages.run(*ASK)
    command = err.splitlines()[-1].removeprefix("A table of what is done so far: trickle ")
    assert command == "report out --benchmark mini"
    assert main(command.split()) == 0


def test_a_bad_record_is_named_and_its_job_done_again(stages: Stages) -> None:
    stages.run(*ASK)
    (path,) = (stages.folder / "out" / "records").glob("resnet50d_mixup_detection*")
    path.write_text("{ torn")
    code, _, err = stages.run(*ASK)
    assert code == 0
    assert str(path) in err
    assert len(stages.calls) == 7
    assert stages.run(*ASK)[2] == ""


def without_its_record(stages: Stages) -> tuple[Path, Path]:
    """After a run whose record of the pretraining is lost: where it lay, and the job's folder."""
    stages.run(*ASK)
    (path,) = (stages.folder / "out" / "records").glob("*_classification_*")
    path.unlink()
    (work,) = (stages.folder / "out" / "work").glob("resnet50d_mixup*")
    return path, work


def seen_in(work: Path) -> str:
    """Adds to a result what the fake stage does not measure; the sha256 of its evidence."""
    made = Evidence(
        task="classification",
        classes=("cat",),
        images=("cat/0.jpg",),
        arrays={"label": np.zeros(1, np.int32)},
    )
    sha256 = made.write(work / FILE_NAME)
    content = json.loads((work / "result.json").read_text())
    content |= {"per_class": {"top1": {"cat": 30.0}}, "evidence_sha256": sha256}
    content["metrics"]["ece"] = {"value": 3.0, "n": 100, "higher_is_better": False}
    (work / "result.json").write_text(json.dumps(content))
    return sha256


def test_a_lost_record_of_a_pretraining_comes_back_whole_from_its_result(stages: Stages) -> None:
    path, work = without_its_record(stages)
    sha256 = seen_in(work)
    assert stages.run(*ASK)[0] == 0
    assert len(stages.calls) == 6
    record = read_record(path)
    assert record.metrics["ece"].value == 3.0
    assert record.per_class == {"top1": {"cat": 30.0}}
    assert record.evidence_sha256 == sha256
    read_evidence(stages.folder / f"out/evidence/{sha256}.safetensors", sha256=sha256)


def test_beside_a_result_of_other_weights_a_lost_record_comes_back_from_its_card(
    stages: Stages,
) -> None:
    path, work = without_its_record(stages)
    seen_in(work)
    card = stages.folder / "out" / "artifacts" / work.name / "card.json"
    card.write_text(card.read_text().replace('"top1": 30', '"top1": 50'))
    assert stages.run(*ASK)[0] == 0
    assert len(stages.calls) == 6
    assert read_record(path).evidence_sha256 is None
    assert row(stages, "resnet50d_mixup")["metrics"]["top1"]["mean"] == 50


def test_a_record_that_another_run_is_about_to_write_is_waited_for(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, work = without_its_record(stages)
    lock = Lock(stages.folder / f"out/locks/pretraining-{work.name}.lock")
    assert lock.acquire()
    present = []

    def end_of_the_other_run(seconds: float) -> None:
        present.append(path.exists())
        lock.release()

    monkeypatch.setattr("eval.execute.time", SimpleNamespace(sleep=end_of_the_other_run))
    try:
        assert stages.run(*ASK)[0] == 0
    finally:
        lock.release()
    assert present == [False]
    assert path.exists()  # the other run ended without


def test_evidence_that_is_not_there_costs_no_record(stages: Stages) -> None:
    code, _, err = stages.run(*ASK, FAKE_LOST="detection-resnet50d")
    assert code == 0, err
    record = cells(stages)["resnet50d_mixup", "detection"]
    assert record.metrics["mAP"].value == 30
    assert record.evidence_sha256 is None
    (note,) = record.notes
    assert note.startswith("what it saw was not kept: ")
    assert "left no evidence.safetensors" in note


def test_evidence_that_cannot_be_copied_costs_no_record(stages: Stages) -> None:
    path, work = without_its_record(stages)
    (stages.folder / f"out/evidence/{seen_in(work)}.safetensors").mkdir(parents=True)
    assert stages.run(*ASK)[0] == 0
    record = read_record(path)
    assert record.per_class == {"top1": {"cat": 30.0}}
    assert record.evidence_sha256 is None
    assert record.notes == ("what it saw was not kept: Is a directory",)


def test_as_many_jobs_run_at_once_as_there_are_slots(stages: Stages) -> None:
    # Each hanging job holds its slot, so that both being there at once shows two slots.
    process = stages.start(*ASK, FAKE_HANG="detection-scratch pretraining")
    deadline = time.monotonic() + 20
    while len(stages.calls) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    started = {call.partition("-")[0] for call in stages.calls}
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    expected = {"weights", "pretraining"} | ({"detection"} if default_slots() > 1 else set())
    assert started == expected


@pytest.mark.parametrize(("share", "slots"), [("1", 1), ("3", 3), ("64", 4)])
def test_jobs_share_what_the_whole_run_may_use(
    share: str, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.threads.usable_cores", lambda: 8.0)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # no GPU
    monkeypatch.setenv(CORES_VARIABLE, share)
    assert default_slots() == slots
