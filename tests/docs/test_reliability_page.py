"""docs/reliability.md: every recorded test is on it, and one that failed cannot be overlooked."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from docs.reliability_page import COMMAND, FILE, PAGE, failures, reliability_page, render


def row(**changes: Any) -> dict[str, Any]:
    return {
        "test": "tests/engine/test_saving.py::test_kills",
        "point": 3,
        "promise": "SIGKILL during saving leaves a checkpoint that loads",
        "cases": 2,
        "figures": ["25 kills, 0 unreadable"],
        "seconds": 95.0,
        "outcome": "passed",
        **changes,
    }


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    machine = {"cpu": "A_B* CPU", "cpu_count": "2", "accelerator": "none", "torch": "2.14.1"}
    return {"date": "2026-11-22", "machine": machine, "rows": list(rows)}


def cells(page: str) -> list[list[str]]:
    """The cells of all rows, as a reader of the rendered Markdown sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    found: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            found.append([])
        if before.type in ("td_open", "th_open"):
            found[-1].append("".join(child.content for child in token.children or ()))
    return found


def test_each_test_stands_under_its_point_with_its_figures() -> None:
    first, last = row(), row(point=14, promise="200 jobs leave memory flat", figures=["0.1 MiB"])
    page = render(report(first, last))
    third, fourteenth = page.index("## 3. Saves"), page.index("## 14. Soak")
    assert third < page.index(first["promise"]) < page.index("## 4. ") < fourteenth
    assert page.index(last["promise"]) > fourteenth
    lines = [line for line in cells(page) if line[0] != "promise"]
    assert [line[:4] for line in lines] == [
        [first["promise"], "25 kills, 0 unreadable", "2", "2 min"],
        ["200 jobs leave memory flat", "0.1 MiB", "2", "2 min"],
    ]
    assert "2026-11-22" in page
    assert COMMAND in page
    assert "None failed." in page
    assert page.count("No test of this point was recorded.") == 12


def test_what_did_not_pass_is_said() -> None:
    page = render(report(row(outcome="failed"), row(outcome="skipped", figures=[])))
    assert "**1 of them failed.**" in page
    measured = [line[1] for line in cells(page)[1:]]
    assert measured[0].startswith("FAILED")
    assert measured[1] == "SKIPPED"
    assert "1 was skipped" in page


def test_figures_of_many_cases_are_said_once() -> None:
    figures = ["same", "same", *(str(number) for number in range(9))]
    assert cells(render(report(row(figures=figures))))[1][1] == "same; 0; 1; 2; and 6 more"


@pytest.mark.parametrize("text", ["a | b", "a *b* c", "<script>x</script>", "_a_ `b|c`"])
def test_no_text_breaks_the_table(text: str) -> None:
    page = render(report(row(promise=text, figures=[text])))
    (line,) = cells(page)[1:]
    plain = text.replace("`", "")
    assert (line[0], line[1]) == (plain, plain)


def test_the_page_follows_from_the_file(tmp_path: Path) -> None:
    assert reliability_page(tmp_path) == {}
    assert failures(tmp_path) == []
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(json.dumps(report(row(), row(outcome="failed"))))
    assert list(reliability_page(tmp_path)) == [PAGE]
    assert len(failures(tmp_path)) == 1
