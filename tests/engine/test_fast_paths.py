"""What was done the plain way stands in the result, and a name that nobody knows is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.fast_paths import FAST_PATHS, VARIABLE, is_fast, switched_off
from engine.runner import QuietRunner
from engine.stage import run_stage


def test_the_plain_ways_stand_in_protocol_and_notes(
    make_runner: Callable[..., QuietRunner],
    toy: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = make_runner(tmp_path / "fast", toy(), steps=2)
    runner.train()
    assert "reference_paths" not in runner.protocol
    assert runner.notes == ()
    monkeypatch.setenv(VARIABLE, "prefetch, channels_last")
    runner = make_runner(tmp_path / "plain", toy(), steps=2)
    runner.train()
    assert runner.protocol["reference_paths"] == "channels_last, prefetch"
    assert runner.notes == ("taken the plain way, not the fast one: channels_last, prefetch",)


def test_all_switches_everything_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "all")
    assert not any(map(is_fast, FAST_PATHS))
    monkeypatch.delenv(VARIABLE)
    assert switched_off() == ()
    assert all(map(is_fast, FAST_PATHS))


def test_an_unknown_name_ends_a_stage_as_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "halff")
    monkeypatch.setattr("engine.stage.choose_threads", lambda: None)  # it would outlive the test
    assert run_stage(lambda argv: None, []) == 2
    said = capsys.readouterr().err
    assert "TRICKLE_REFERENCE names halff" in said
    assert "channels_last" in said


def test_a_misspelt_name_ends_a_run_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eval.cli import main

    monkeypatch.setenv("TRICKLE_REFERENCE", "resise")
    assert main(["run", "--backbone", "resnet50d_mixup", "--dry-run"]) == 2
    assert "resise" in capsys.readouterr().err
