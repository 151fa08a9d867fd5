"""The screen: a drawn table on a terminal, markdown elsewhere, and names as they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from eval.records import Record
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
    assert ("───" in shown) == stream.isatty()


@pytest.mark.parametrize(("width", "shown"), [(120, False), (200, True)])
def test_a_narrow_terminal_keeps_whole_numbers(
    make_record: Callable[..., Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    shown: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = ("resnet50d_mixup_distill", "scratch:resnet50d")
    rows = [
        RowName(backbone=name, control=control)
        for name, control in zip(names, (names[1], None), strict=True)
    ]
    records = [
        make_record(name, task, seed, dict.fromkeys(metrics, 30.0 + seed))
        for name in names
        for task, metrics in (("detection", ("mAP",)), ("segmentation", ("mIoU", "aAcc")))
        for seed in (0, 1, 2)
    ]
    tasks = ("detection", "segmentation")
    table = make_table(records, benchmark="mini", rows=rows, seeds=(0, 1, 2), tasks=tasks)
    stream = Terminal()
    Screen(tmp_path, stream).table(table)
    lines = stream.getvalue().splitlines()
    first = next(line for line in lines if names[0] in line)
    assert first.count("31.0 ± 2.5") == (3 if shown else 2)  # none is broken over two lines
    assert first.count("+0.0 ± 0.0") == (3 if shown else 2)
    assert lines[lines.index(first) + 1].count("no evidence") == (3 if shown else 2)
    assert ("aAcc: in" in stream.getvalue()) != shown
    assert len(next(line for line in lines if "───" in line)) <= width


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
