"""`report.html`: whole, escaped, the same for the same records, and there whatever they hold."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.layout import Layout
from eval.page import page as page_module
from eval.page.page import render_page
from eval.page.plots import COLORS, plot_svg
from eval.page.prose import from_markdown, prose
from eval.report import write_report
from eval.sections import all_sections
from eval.sections.all_sections import make_sections
from eval.sections.material import Material
from eval.sections.section import Plot, Section
from eval.text import escape_markdown
from tests.eval.report_material import (
    PROTOCOL,
    ROWS,
    material_of,
    record_of,
    section_of,
    small_material,
)

HOSTILE = (
    "<script>alert(1)</script>\"'&$x_1$",
    "<img src=x onerror=alert(1)>",
    "</style></title></svg></dialog>",
    "--><!-- ]]>",
    "{{ 7 * 7 }}{% raise %}",
    "javascript:alert(1)",
    '" onmouseover="alert(1)',
    "&lt;b&gt;&amp;&quot;",
    "\x1b[2J\u202egpj.exe\u2028\x00",
    "$\\frac{1}{",
    "東京 ±",
)


@dataclass
class Seen(HTMLParser):
    """What a browser would make of a page, as far as these tests ask."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    goes_on: bool = False

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.goes_on = tag == "wbr"

    def handle_data(self, data: str) -> None:
        if self.goes_on:  # a place where a line may break is no end of a text
            data = self.texts.pop() + data
        self.texts.append(data)
        self.goes_on = False

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


def seen(page: str) -> Seen:
    parser = Seen()
    parser.feed(page)
    parser.close()
    return parser


def hostile_page(text: str, *, plots: bool = True) -> str:
    section = section_of(text)
    if not plots:  # which take most of the time
        blocks = tuple(block for block in section.blocks if not isinstance(block, Plot))
        section = replace(section, blocks=blocks)
    records = [
        record_of(
            text,
            seed,
            20.0,
            control=text,
            tricks=(text,),
            benchmark=text,
            protocol={text: text, "list": [text, {text: None}]},
            environment={"cpu": text, "command": text, "finished": text},
            notes=(text,),
        )
        for seed in (0, 1)
    ]
    failed = record_of(text, 2, None, status="failed", message=text)
    material = material_of([*records, failed], benchmark=text)
    return render_page(material, [text], [section])


def check_inert(page: str) -> None:
    """Nothing of a record is obeyed: no script, handler, address or frame comes from one."""
    found = seen(page)
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert {tag for tag, _ in found.tags}.isdisjoint({"iframe", "object", "embed", "form", "base"})
    for tag, attributes in found.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "action", "xlink:href"):
                assert value is not None
                assert value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
    assert len(list(found.of("img"))) == 1
    odd = [c for c in page if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Cs")]
    assert odd == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_and_not_obeyed(text: str) -> None:
    page = hostile_page(text, plots="$" in text or not text.isascii() or not text.isprintable())
    check_inert(page)
    if text.isprintable():
        assert text in seen(page).texts  # as the row's name, among others


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from([*HOSTILE, "a", " ", "`", "\\", "\n"]), min_size=1, max_size=5)
    .map("".join)
    .filter(str.strip)
)
def test_no_mixture_of_hostile_texts_is_obeyed(text: str) -> None:
    check_inert(hostile_page(text, plots=False))


def test_the_same_records_give_the_same_bytes() -> None:
    material = small_material()
    pages = [render_page(material, ["a note"], [section_of()]) for _ in range(2)]
    assert pages[0] == pages[1]
    turned = replace(material, records=tuple(reversed(material.records)))
    assert render_page(turned, ["a note"], [section_of()]) == pages[0]


def test_nothing_is_fetched_and_only_its_own_script_runs() -> None:
    page = render_page(small_material(), [], [section_of()])
    assert re.search(r"(?i)(https?:)?//[a-z0-9]", re.sub(r"base64,[^\"]*", "", page)) is None
    assert set(re.findall(r"url\(([^)]?)", page)) <= {"#"}
    (policy,) = (m["content"] for m in seen(page).of("meta") if "http-equiv" in m)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules["script-src"])


def test_ids_are_unique_and_every_link_leads_somewhere() -> None:
    sections = [section_of(key="first"), section_of(key="second")]
    found = seen(render_page(small_material(), [], sections))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(link["href"]).removeprefix("#") for link in found.of("a")}
    assert links <= set(ids)
    assert len(links) > 5


def test_behind_a_number_lies_how_it_was_measured() -> None:
    material = small_material()
    texts = seen(render_page(material, [], [])).texts
    mixup = [record for record in material.records if record.backbone == "resnet50d_mixup"]
    for record in mixup:
        assert record.file_name in texts
    for text in ("24.00", "26.00", "25.00", "1.41", "12.29 to 37.71"):  # t(1) 0.975 = 12.7062
        assert text in texts
    for text in ("budget.image_size", "128, 96", "budget.norm_eval", "false", "a processor"):
        assert text in texts
    assert texts.count("budget.image_size") == 1  # one protocol, shown once for all rows
    assert "trickle run --seeds 0 1" in texts


def test_seeds_of_two_protocols_name_both() -> None:
    other = {**PROTOCOL, "precision": "bfloat16"}
    records = [record_of("a", 0, 20.0), record_of("a", 1, 21.0, protocol=other)]
    found = seen(render_page(material_of(records), [], []))
    (behind,) = (tag for _, tag in found.tags if "data-protocols" in tag)
    assert behind["data-protocols"] == "protocol-1 protocol-2"


def test_what_is_missing_is_a_dash_that_leads_nowhere() -> None:
    records = [record_of("a", 0, 20.0), record_of("b", 0, None, status="failed", message="broke")]
    page = render_page(material_of(records), [], [])
    row = page[page.index(">b</span>") :].split("</tr>")[0]
    assert "–" in row
    assert "failed" in row
    assert re.search(r"<a [^>]*>–</a>", page) is None
    assert "broke" in seen(page).texts


@pytest.mark.parametrize("count", [1, 100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_page_of_one_row_and_of_a_thousand(count: int) -> None:
    material = material_of([record_of(f"net_{n}", 0, n / 20) for n in range(count)])
    found = seen(render_page(material, [], []))
    assert len([tag for _, tag in found.tags if "data-found-by" in tag]) == count


def test_a_note_is_shown_without_the_marks_of_markdown() -> None:
    notes = [r"Left out: a\_\*b\* \`c\`.", "Command: `trickle run \\_x`", "Command: `` a`b ``"]
    texts = seen(render_page(small_material(), notes, [])).texts
    assert "Left out: a_*b* `c`." in texts
    assert r"trickle run \_x" in texts
    assert "a`b" in texts


def test_long_names_break_behind_their_joints_and_nothing_else_does() -> None:
    records = [record_of("resnet50d_mixup+smooth<b>", 0, 1.5)]
    page = render_page(material_of(records), [], [])
    assert "resnet50d_<wbr>mixup+<wbr>smooth&lt;b&gt;</span>" in page
    section = Section(key="s", title="t", lead="from +40.4 to -1.5, a_ _b")
    assert "from +40.4 to -1.5, a_ _b</p>" in render_page(material_of(records), [], [section])


def test_code_is_between_runs_of_as_many_backticks() -> None:
    """As CommonMark 0.31, 6.1 has it; its own examples 328 to 349 but for line ends and links."""
    for text, shown in {
        "`foo`": "<code>foo</code>",
        "`` foo ` bar ``": "<code>foo ` bar</code>",
        "` `` `": "<code>``</code>",
        "`  ``  `": "<code> `` </code>",
        "` a`": "<code> a</code>",
        "`foo\\`bar`": "<code>foo\\</code>bar`",
        "``foo`bar``": "<code>foo`bar</code>",
        "` foo `` bar `": "<code>foo `` bar</code>",
        "*foo`*`": "*foo<code>*</code>",
        "```foo``": "```foo``",
        "`foo": "`foo",
        "`foo``bar``": "`foo<code>bar</code>",
    }.items():
        assert str(prose(text)) == shown
        assert str(from_markdown(text)) == shown
    assert str(from_markdown("\\`a` b`")) == "`a<code> b</code>"  # an escaped one begins none
    assert str(from_markdown("\\``a`")) == "`<code>a</code>"


def test_many_backticks_take_no_time() -> None:
    """Twice as many take twice as long; 4,000 once took five seconds."""
    started = time.process_time()
    for text in ("`" * 20_000, "` `` " * 3_000, "``".join("`" * n for n in range(150))):
        prose(text)
        from_markdown(escape_markdown(text))
    assert time.process_time() - started < 3


def test_backticks_are_code_in_every_block() -> None:
    text = "see `a --b <i>` here"
    found = render_page(small_material(), [], [section_of(text)])
    body = found.partition('<section id="demo"')[2].partition("</section>")[0]
    shown = "see <code>a --b &lt;i&gt;</code> here"
    # lead, paragraph, caption, detail and note of the table, captions of plot and gallery, left out
    assert body.count(shown) == 8


def test_a_protocol_says_whose_it_is() -> None:
    other = {**PROTOCOL, "precision": "bfloat16"}
    names = ("a", "b", "c", "d", "e", "f")
    records = [record_of(name, 0, 20.0) for name in names]
    records += [record_of("g", 0, 20.0, protocol=other)]
    found = seen(render_page(material_of(records), [], []))
    titles = [tag["data-title"] for _, tag in found.tags if str(tag.get("id"))[:8] == "protocol"]
    assert titles == [
        "Protocol 1: detection of a, b, c, d and 2 more",
        "Protocol 2: detection of g",
    ]


def broken(material: Material) -> Section | None:
    raise KeyError("a defect <b>")


def fine(material: Material) -> Section | None:
    return section_of()


def nothing(material: Material) -> Section | None:
    return None


def test_a_section_that_fails_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_sections, "SECTIONS", (broken, nothing, fine))
    with pytest.warns(RuntimeWarning, match="could not be made: KeyError"):
        failed, made = make_sections(small_material())
    assert "could not be made" in failed.lead
    assert "a defect <b>" in failed.left_out[0]
    assert made.key == "demo"


def test_a_plot_that_fails_costs_itself_alone() -> None:
    def draw(figure: Any) -> None:
        raise ZeroDivisionError("no rows")

    section = Section(key="s", title="t", lead="l", blocks=(Plot(caption="c", alt="a", draw=draw),))
    with pytest.warns(RuntimeWarning, match="could not be made: ZeroDivisionError"):
        page = render_page(small_material(), [], [section])
    assert "The plot “c” could not be made: ZeroDivisionError: no rows" in seen(page).texts


def test_the_page_lies_beside_the_tables(tmp_path: Path) -> None:
    paths = write_report(tmp_path, small_material(), ["a note"])
    assert set(paths) == set(Layout(tmp_path).tables)
    assert all(path.is_file() for path in paths)
    page = (tmp_path / "report.html").read_text()
    for name in ROWS:
        assert name in page
    assert "could not be made" not in page


def test_a_plot_wears_the_colors_of_the_page() -> None:
    (plot,) = (block for block in section_of("$x_1$").blocks if isinstance(block, Plot))
    svg = plot_svg(plot, prefix="p")
    assert "$x_1$</text>" in svg  # no formula
    assert "currentColor" in svg
    assert COLORS[0] in svg
    assert set(re.findall(r"#[0-9a-f]{6}", svg)) <= set(COLORS)
    assert "<style" not in svg  # it would hold for the whole page
    assert 'role="img" aria-label="$x_1$"' in svg


def test_labels_of_powers_are_plain_numbers() -> None:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0.1, 1000.0], [1, 2])
        axes.set_xscale("log")

    svg = plot_svg(Plot(caption="c", alt="a", draw=draw), prefix="p")
    labels = re.findall(r">([^<]*)</text>", svg)
    assert {"0.1", "1", "10", "100", "1000"} <= set(labels)
    assert "$" not in svg


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("scheme", [0, 1])
def test_lines_are_seen_on_both_grounds(color: str, scheme: int) -> None:
    """WCAG 2.2, 1.4.11: 3:1; its definition of relative luminance."""
    style = (Path(page_module.__file__).with_name("page.css")).read_text()
    ground = re.findall(r"--ground: (#[0-9a-f]{6})", style)[scheme]
    lighter, darker = sorted(map(luminance, (color, ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_page_of_the_same_is_left_as_it_is(tmp_path: Path) -> None:
    page, material = Layout(tmp_path).page, small_material()

    def written(**options: Any) -> bool:
        """Whether a page that someone spoiled in its middle was made again."""
        page.write_bytes(page.read_bytes().replace(b"<title>", b"<TITLE>", 1))
        write_report(tmp_path, material, options.pop("notes", ["a note"]), **options)
        return b"<title>" in page.read_bytes()

    write_report(tmp_path, material, ["a note"], stamps=["1:2"])
    assert not written(stamps=["1:2"], anew=False)
    assert written(stamps=["1:2"])
    assert written(stamps=["1:3"], anew=False)
    assert written(stamps=["1:3"], notes=["another"], anew=False)
    page.unlink()
    page.write_bytes(b"<title>half")
    assert written(stamps=["1:3"], anew=False)


def test_a_page_of_other_sources_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a page says follows from more than its records: published numbers, how errors are
    told apart, how a file of evidence is read."""
    monkeypatch.setattr(all_sections, "make_sections", lambda material: ())
    page, material, read = Layout(tmp_path).page, small_material(), Path.read_bytes
    write_report(tmp_path, material, [])

    def made_again() -> bool:
        before = read(page)
        write_report(tmp_path, material, [], anew=False)
        return read(page) != before

    assert not made_again()
    for changed in (
        "benchmarks/published.json",
        "detection/error_types.py",
        "segmentation/evidence.py",
        "classification/calibration.py",
        "engine/evidence.py",
        "backbones/card.py",
        "eval/intervals.py",
        "eval/page/page.css",
    ):
        monkeypatch.setattr(
            Path,
            "read_bytes",
            lambda path, name=changed: read(path) + b" " * path.as_posix().endswith(name),
        )
        assert made_again(), changed
        assert not made_again(), changed
