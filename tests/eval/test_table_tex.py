"""table.tex: read by a strict reader of its own, since TeX itself may be absent."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from eval.table_tex import escape_tex, to_tex

HEADER = ("backbone", "mAP", "Δ mAP")
NASTY = (
    r"\input{/etc/passwd}",
    r"\end{table}",
    "50% & more",
    "a_b^c#d~e$x$",
    "{",
    "}",
    "\\",
    "*[2ex]",
    "[option]",
    "% comment",
    "<script>|`'\"",
    "--- ''' ?` !`",
    "été 東京 😀",
    "\n\n\\par",
    "^^5cinput",
)
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(min_size=1),
    st.builds("".join, st.lists(st.sampled_from([*NASTY, "a", " "]), min_size=1, max_size=4)),
)
# All that may stand in the file; whatever else bears a meaning to TeX is a failure.
TOKEN = re.compile(
    r"""
    \\(?P<command>begin|end|caption|centering|footnotesize|raggedright|par|medskip|toprule|midrule|bottomrule|endfirsthead|endhead
        |textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textasciigrave
        |textendash|pm|Delta)(?![A-Za-z])
    | \\char(?P<code>\d+)(?=\{\})
    | \\(?P<escaped>[{}$&\#%_])
    | \\(?P<line>\\)
    | (?P<open>\{) | (?P<close>\}) | (?P<math>\$) | (?P<cell>&)
    | (?P<text>[^\\{}$&\#%_^~])
    """,
    re.VERBOSE,
)


def read(tex: str) -> list[list[str]]:
    """Rows of cells between \\toprule and \\bottomrule, as they are shown; fails for anything that
    TeX could take for more than text in a table."""
    first, _, rest = tex.partition("\n")
    assert re.fullmatch(r"% \\usepackage\{[a-z, ]+\}", first)
    assert tex.isascii()
    assert "\n\n" not in tex
    shown = {
        "textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~", "textless": "<",
        "textgreater": ">", "textbar": "|", "textasciigrave": "`", "textendash": "–",
        "pm": "±", "Delta": "Δ",
    }  # fmt: skip
    depth, math, place = 0, False, 0
    rows: list[list[str]] = [[""]]
    inside, kept, environments = False, [], 0
    while place < len(rest):
        found = TOKEN.match(rest, place)
        assert found is not None, rest[place : place + 20]
        place = found.end()
        kind, value = found.lastgroup, found.group(found.lastgroup or 0)
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            assert depth >= 0
        elif kind == "math":
            math = not math
        elif kind == "code":
            rows[-1][-1] += chr(int(value))
        elif kind == "command" and value in shown:
            rows[-1][-1] += shown[value]
        elif kind == "command" and value in ("toprule", "midrule", "bottomrule"):
            inside, rows = value != "bottomrule", [[""]]
        elif kind == "command" and value in ("footnotesize", "raggedright", "par"):
            assert depth == (0 if rest[place : place + 8] == "\\medskip" else 1)
        elif kind == "command":
            assert depth == 0
            environments += {"begin": 1, "end": -1}.get(value, 0)
        elif kind == "cell":
            assert depth == 0
            rows[-1].append("")
        elif kind == "line":
            assert depth == 0
            assert not re.match(r"\s*[\[*]", rest[place:])  # which the line break would take
            if inside:
                kept.append([cell.strip() for cell in rows[-1]])
            rows = [[""]]
        elif kind in ("text", "escaped"):
            rows[-1][-1] += value
    assert (depth, math, environments) == (0, False, 0)
    return kept


def test_a_table_is_read_back() -> None:
    tex = to_tex(
        HEADER,
        [["resnet50d_mixup", "32.0 ± 5.0", "-1.2 ± 6.6 *"], ["scratch:x", "–", "+0.1 no evidence"]],
        caption="Transfer on mini.",
        notes=["Seeds 0, 1.", "50% of it.", ""],
    )
    assert read(tex) == [
        list(HEADER),
        ["resnet50d_mixup", "32.0 ± 5.0", "-1.2 ± 6.6 *"],
        ["scratch:x", "–", "+0.1 no evidence"],
    ]
    assert r"\caption{Transfer on mini.}" in tex
    below = tex.partition(r"\end{tabular}")[2].splitlines()
    assert below == [
        "",
        r"\par\medskip",
        r"{\footnotesize\raggedright Seeds 0, 1.\par}",
        r"{\footnotesize\raggedright 50\% of it.\par}",
        r"\end{table}",
    ]
    assert r"$-$1.2 $\pm$ 6.6" in tex


@bounded(max_examples=30, deadline=None)
@given(texts, texts, texts)
def test_no_name_is_obeyed(name: str, cell: str, said: str) -> None:
    header, row = read(to_tex(HEADER, [[name, cell, cell]], caption=said, notes=[name, said]))
    assert header == list(HEADER)
    assert len(row) == 3


def test_a_name_of_ascii_is_shown_as_it_is() -> None:
    for name in NASTY:
        if name.isascii() and "\n" not in name:
            (_, row) = read(to_tex(HEADER, [[name, "1", "2"]], caption=""))
            assert row[0] == name


def test_what_no_font_has_is_spelled_out() -> None:
    assert escape_tex("é😀") == "[U+00E9][U+1F600]"


def test_two_signs_are_not_drawn_as_one() -> None:
    assert escape_tex("a--b---c") == "a-{}-b-{}-{}-c"
    assert escape_tex("'' –") == r"'{}' \textendash{}"


def test_a_long_table_goes_on_over_pages() -> None:
    rows = [[f"row{number}", "1.0", "+2.0"] for number in range(1000)]
    tex = to_tex(HEADER, rows, caption="Long.", notes=["Below."])
    assert tex.startswith("% \\usepackage{booktabs, longtable}\n\\begin{longtable}{lrr}")
    assert "{table}" not in tex
    assert tex.endswith("\\end{longtable}\n{\\footnotesize\\raggedright Below.\\par}\n")
    assert read(tex)[2:] == rows
    assert read(to_tex(HEADER, [], caption="")) == [list(HEADER)]
