"""The screen: a drawn table on a terminal, markdown elsewhere, and names as they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from eval.screen import Screen, shown_path
from eval.summary import RowName, make_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


NAME = "timm:x@[red]/weights.pth"


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_names_are_shown_as_they_are(
    stream: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    row = RowName(backbone=NAME, control=None)
    table = make_table([], benchmark="mini", rows=[row], seeds=[0], tasks=["detection"])
    Screen(tmp_path, stream).table(table)
    shown = stream.getvalue().replace("\\", "")
    assert NAME in shown
    assert ("│" in shown) == stream.isatty()


def test_a_closed_standard_output_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)  # what Python makes of `>&-`
    screen = Screen(tmp_path)
    screen.table(make_table([], benchmark="mini", rows=[], seeds=[0], tasks=["detection"]))
    screen.places([tmp_path / "table.md"])


def test_paths_below_the_working_directory_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "runs" / "mini") == "runs/mini"
    assert shown_path(Path("/elsewhere")) == "/elsewhere"
