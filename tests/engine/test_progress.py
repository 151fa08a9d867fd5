"""What a person sees of a training, with the time left."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest
import torch

from engine import progress
from engine.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (75, "1m15s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (3700, "1h01m"),
        (90000, "25h00m"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def run(*, start: int, total: int, seconds_per_step: float, patch: pytest.MonkeyPatch) -> None:
    """A training without a trainer, on a clock of its own."""
    now = 100.0
    patch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    bar, runner = Progress("toy, seed 0"), SimpleNamespace(iter=start, max_iters=total)
    bar.before_train(runner)
    for step in range(start, total):
        now += seconds_per_step
        bar.after_train_iter(runner, step, outputs={"loss": torch.tensor(2.0 / (step + 1))})


LINE = re.compile(r"  toy, seed 0: step (\d+)/50  loss (\S+)  (\S+) left")


def test_plain_lines_off_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(start=0, total=50, seconds_per_step=6, patch=monkeypatch)
    out, err = capsys.readouterr()
    assert out == ""
    *lines, last = err.splitlines()
    assert 3 <= len(lines) < 20, "a few lines, whatever the number of steps"
    for line in lines:
        found = LINE.fullmatch(line)
        assert found is not None, line
        step, loss, left = found.groups()
        minutes, seconds = divmod(6 * (50 - int(step)), 60)  # each of those to come takes 6 s
        assert left == (f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s")
        assert float(loss) == pytest.approx(2 / int(step), abs=6e-4)
    assert last == "  toy, seed 0: step 50/50  loss 0.040  in 5m00s"


def test_a_continued_run_says_so_and_counts_only_its_own_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(start=30, total=50, seconds_per_step=2, patch=monkeypatch)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "  toy, seed 0: continues from step 30 of 50"
    assert "  toy, seed 0: step 40/50  loss 0.050  20s left" in lines
    assert lines[-1] == "  toy, seed 0: step 50/50  loss 0.040  in 40s"


def test_the_last_step_always_has_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(start=0, total=11, seconds_per_step=1, patch=monkeypatch)
    assert "step 11/11" in capsys.readouterr().err.splitlines()[-1]


def test_one_line_drawn_over_and_over_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(start=0, total=20, seconds_per_step=1, patch=monkeypatch)
    text = terminal.getvalue()
    assert "\n" not in text
    assert "[============            ] toy, seed 0: step 10/20  loss 0.200  10s left" in text
    assert text.endswith("\r\x1b[K"), "the bar is wiped away in the end"
