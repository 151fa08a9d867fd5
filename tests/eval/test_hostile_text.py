"""Names, messages and notes of records are anybody's: every written form shows them, none obeys."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from engine.results import Metric
from eval.notes import make_notes
from eval.records import BadRecord, Record, read_records, write_record
from eval.screen import Screen
from eval.summary import RowName, Table, make_table
from eval.tables import to_csv, to_json, to_markdown, write_tables
from eval.text import escape_cell, escape_markdown, in_one_line, no_formula, visible
from eval.transfer import report

FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")  # OWASP's rule on CSV injection
ESCAPE, TURN_AROUND = "\x1b", "\u202e"
HOSTILE = (
    "=cmd|' /C calc'!A0",
    "-1+1|cmd",
    "a;=1+1",
    "＝1+1",
    "\t=1+1",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://x/y.png)",
    "a|b",
    "a\\|b",
    "a\n| new | row |",
    "# heading",
    "1. list",
    "- list",
    "> quote",
    "***",
    "```",
    "&lt;b&gt;",
    "*emphasis* _here_ ~~gone~~",
    "$x^2$",
    f"{ESCAPE}[2J{ESCAPE}]0;title\x07",
    "\x9b31m",
    f"a{TURN_AROUND}gpj.exe",
    "a\u200bb\u2028c",
    "\x00",
    r"\input{/etc/passwd} \x1b",
)
ordinary = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1)
anything = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(min_size=1),
    st.builds("".join, st.lists(st.sampled_from([*HOSTILE, "a", " "]), min_size=1, max_size=4)),
)
bounded = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def obeyed(text: str) -> list[str]:
    """The characters in it that a terminal or an editor would act upon."""
    return [
        character
        for character in text
        if character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    ]


def table_of(backbone: str, message: str, note: str, metric: str) -> tuple[Table, list[Record]]:
    content: dict[str, Any] = {
        "key": "0" * 16,
        "lineage": "a" * 16,
        "backbone": backbone,
        "control": None,
        "benchmark": note,
        "protocol": {"data": note, "metric": message, "budget": {"image_size": note}},
        "seed": 0,
        "environment": {"command": note, "finished": message, "cpu": note, "python": note},
        "notes": (note,),
    }
    points = Metric(value=-1.5, unit="points", n=1)
    good = Record(task="detection", status="ok", metrics={metric: points}, **content)
    bad = Record(task="segmentation", status="failed", message=message, **content)
    row = RowName(backbone=backbone, control=note, tricks=(message,))
    table = make_table(
        [good, bad], benchmark=note, rows=[row], seeds=(0,), tasks=("detection", "segmentation")
    )
    return table, [good, bad]


def parsed_markdown(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def flat(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *flat(token.children or []))]


@pytest.mark.reliability(
    12, "No cell of the CSV begins a formula, whatever is in names and messages; numbers stay so."
)
@bounded
@given(anything, anything, anything, anything)
def test_no_cell_of_the_csv_begins_a_formula(
    backbone: str, message: str, note: str, metric: str
) -> None:
    table, _ = table_of(backbone, message, note, metric)
    text = to_csv(table)
    assert obeyed(text) == []
    header, line = csv.reader(io.StringIO(text))
    assert len(header) == len(line)
    assert "-1.5" in line  # a number below zero is no formula
    for separator in ",;\t|":  # programs differ in what they take for one
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            for cell in row:
                assert cell == "-1.5" or not cell.strip().startswith(FORMULA_STARTS)


@bounded
@given(ordinary)
def test_a_name_of_the_csv_is_read_back_as_it_was(name: str) -> None:
    table, _ = table_of(name, "m", "n", "mAP")
    _, line = csv.reader(io.StringIO(to_csv(table)))
    assert line[0].replace("'", "") == name.replace("'", "")
    if not re.search(r"[=+\-@＝＋－＠]", name):
        assert line[0] == name


@pytest.mark.reliability(
    12, "Markdown stays a heading, a table and a list of plain text, whatever is in a record."
)
@bounded
@given(anything, anything, anything, anything)
def test_markdown_holds_nothing_but_text(
    backbone: str, message: str, note: str, metric: str
) -> None:
    table, records = table_of(backbone, message, note, metric)
    notes = make_notes(table, records)
    text = to_markdown(table, notes)
    assert obeyed(text) == []
    tokens = parsed_markdown(text)
    kinds = {token.type for token in flat(tokens)}
    assert kinds <= {
        *("heading_open", "heading_close", "inline", "text", "code_inline"),
        *(f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td")
          for end in ("open", "close")),
        *(f"{part}_{end}" for part in ("bullet_list", "list_item", "paragraph")
          for end in ("open", "close")),
    }  # fmt: skip
    counts = [token.type for token in tokens]
    assert counts.count("heading_open") == 1
    assert counts.count("tr_open") == 2
    assert counts.count("th_open") == counts.count("td_open")
    assert counts.count("bullet_list_open") == 1
    assert counts.count("list_item_open") == len(notes)


@bounded
@given(ordinary)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    for text, before in (
        (escape_markdown(name), ""),
        (f"- {escape_markdown(name)}", ""),
        (f"| a |\n| --- |\n| {escape_cell(name)} |", "a"),
        (f"| {escape_cell(name)} |\n| --- |", ""),
    ):
        shown = [t.content for t in flat(parsed_markdown(text)) if t.type == "text"]
        assert "".join(shown).removeprefix(before) == name


@pytest.mark.parametrize(
    "cell",
    ["33.3", "+1.4", "-0.2 ± 1.5", "0.18M", "8m44s", "–", "resnet18d_mixup", "scratch:resnet50d"],
)
def test_numbers_and_names_stay_readable_in_a_cell(cell: str) -> None:
    assert escape_cell(cell) == cell


@pytest.mark.reliability(12, "JSON holds every name as it is, in ASCII alone.")
@bounded
@given(anything, anything, anything, anything)
def test_json_holds_everything_in_ascii(
    tmp_path_factory: pytest.TempPathFactory, backbone: str, message: str, note: str, metric: str
) -> None:
    table, records = table_of(backbone, message, note, metric)
    out = tmp_path_factory.mktemp("out")
    write_tables(out, table, make_notes(table, records))
    written = (out / "table.json").read_bytes()
    assert written.isascii()
    assert obeyed(written.decode()) == []
    assert json.loads(written) == to_json(table)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.reliability(
    12, "The terminal gets no control character, escape sequence or direction from a record."
)
@bounded
@given(anything, anything, anything, anything)
def test_the_terminal_is_told_nothing(
    tmp_path_factory: pytest.TempPathFactory, backbone: str, message: str, note: str, metric: str
) -> None:
    table, _ = table_of(backbone, message, note, metric)
    for stream in (io.StringIO(), Terminal()):
        Screen(tmp_path_factory.mktemp("out"), stream).table(table)
        own = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())  # how the table itself is drawn
        assert obeyed(own) == []


def test_the_terminal_is_told_nothing_by_what_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{ESCAPE}[2J.json"
    Screen(tmp_path).bad_records([BadRecord(path=path, reason=f"a\n{TURN_AROUND}b")])
    shown = capsys.readouterr().err
    assert obeyed(shown) == []
    assert "\\x1b[2J.json" in shown
    assert "\\u202eb" in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("a; -b", "a; '-b"),
        ("resnet50d_mixup", "resnet50d_mixup"),
        ("timm:vit-x", "timm:vit-x"),
        ("a\n b", "a b"),
        ("\t@x", "'@x"),
    ],
)
def test_formulas(text: str, expected: str) -> None:
    assert no_formula(text) == expected


def test_what_is_not_seen_is_spelled_out() -> None:
    assert visible(f"a{ESCAPE}[1mb\nc{TURN_AROUND}\x9b") == "a\\x1b[1mb\nc\\u202e\\x9b"
    assert in_one_line("a\r\n\tb") == "a b"
    assert visible("Zürich 東京 ±") == "Zürich 東京 ±"


@pytest.mark.parametrize(
    "change",
    [
        {"cost": {"seconds": 1e300}},
        {"cost": {"seconds": -1.0}},
        {"metrics": {"mAP": {"value": 1e300, "unit": "x", "n": 1}}},
        {"seed": 2**31},
        {"protocol": {"data": float("nan")}},
        {"protocol": {"data": float("inf")}},
        {"seed": True},
        {"seed": "0"},
        {"seed": 0.0},
        {"cost": {"seconds": True}},
        {"cost": {"seconds": "1"}},
        {"backbone": "x" * 100_000},
        {"control": "x" * 100_000},
        {"tricks": ["x" * 100_000]},
        {"benchmark": "x" * 100_000},
        {"metrics": {"x" * 100_000: {"value": 1.0, "n": 1}}},
    ],
)
def test_what_no_table_can_hold_makes_no_record(
    make_record: Callable[..., Record], tmp_path: Path, change: dict[str, Any]
) -> None:
    record = make_record()
    write_record(tmp_path, record)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text()) | change
    content.pop("checksum", None)
    path.write_text(json.dumps(content))
    assert [bad.path for bad in read_records(tmp_path).bad] == [path]


def test_a_report_of_odd_records_comes_all_the_same(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    odd = make_record(
        "scratch:x", protocol={"budget": "none", "data": {"a": [1, {}]}, "metric": None}
    )
    huge = make_record("scratch:y", status="failed", message="x" * 10**6, metrics={})
    for record in (odd, huge):
        write_record(tmp_path / "records", record)
    report(tmp_path)
    assert len((tmp_path / "table.md").read_text()) < 10_000
