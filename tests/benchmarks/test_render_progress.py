"""Progress: one line that is rewritten on a terminal, a few lines in a file."""

from __future__ import annotations

import io

from benchmarks.mini_world.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_four_lines_with_the_time_left() -> None:
    stream = io.StringIO()
    progress = Progress("drawing", 1000, "images", stream)
    for _ in range(100):
        progress.advance(10)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [
        "250/1,000",
        "500/1,000",
        "750/1,000",
        "1,000/1,000",
    ]
    assert [line.endswith("s left") for line in lines] == [True, True, True, False]


def test_a_terminal_gets_one_line() -> None:
    stream = Terminal()
    progress = Progress("drawing", 3, "images", stream)
    for _ in range(3):
        progress.advance(1)
    progress.close()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().split("\r")[-1].startswith("drawing: 3/3 images")
