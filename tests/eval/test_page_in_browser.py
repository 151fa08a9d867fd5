"""`report.html` in headless Chromium: what readers do with it by mouse, keys or screen reader."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from eval.page.page import render_page
from eval.sections.section import Cell, Grid, Paragraph, Plot, Section
from tests.eval.report_material import (
    material_of,
    record_of,
    section_of,
    small_material,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = "<script>alert(1)</script>\"'&$x_1$<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no Chromium here: none of {', '.join(names)} is on the PATH")
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses to run as root, as a container's user is.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@dataclass(kw_only=True)
class Visit:
    """An open page. asked: addresses that it wanted. troubles: dialogs and errors of scripts."""

    page: Page
    asked: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """The rows of the main table that are shown, from above."""
        rows = self.page.locator("#numbers tbody tr:visible th")
        return [text.strip() for text in rows.all_inner_texts()]

    def light(self) -> float:
        """Mean brightness of what is on the screen, 0 to 1."""
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("L")
        return float(np.asarray(picture).mean() / 255)


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def small_page() -> str:
    return render_page(small_material(), ["a note"], [section_of()])


@pytest.fixture
def visit(browser: Browser, tmp_path: Path, small_page: str) -> Iterator[Open]:
    """Opens a page from the disk; at the end nothing was asked for, and no script had trouble."""
    visits = []

    def open_page(html: str = small_page, *, width: int = 1100, **options: Any) -> Visit:
        file = tmp_path / "report.html"
        file.write_text(html)
        page = browser.new_context(viewport={"width": width, "height": 800}, **options).new_page()
        found = Visit(page=page)
        visits.append(found)
        page.on("request", lambda request: found.asked.append(request.url))
        page.on("dialog", lambda dialog: (found.troubles.append("dialog"), dialog.dismiss()))
        page.on("pageerror", lambda error: found.troubles.append(str(error)))
        page.goto(file.as_uri())
        return found

    yield open_page
    for each in visits:
        assert each.troubles == []
        assert [url for url in each.asked if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in each.asked if url.startswith("file:")]) == 1
        each.page.context.close()


def test_a_column_sorts_the_rows(visit: Open) -> None:
    found = visit()
    mixup, cosine, scratch = "resnet50d_mixup", "resnet50d_cosine", "scratch:x"
    assert found.names() == [mixup, cosine, scratch]
    score = found.page.get_by_role("button", name="mAP", exact=True)
    heading = found.page.locator("#numbers th").filter(has=score)
    score.click()  # 25, 8.5, 4: the largest first
    assert found.names() == [mixup, cosine, scratch]
    assert heading.get_attribute("aria-sort") == "descending"
    score.press("Enter")
    assert found.names() == [scratch, cosine, mixup]
    assert heading.get_attribute("aria-sort") == "ascending"
    found.page.get_by_role("button", name="Δ mAP").click()  # what is missing, last in both
    assert found.names() == [mixup, cosine, scratch]
    assert heading.get_attribute("aria-sort") is None
    found.page.get_by_role("button", name="Δ mAP").click()
    assert found.names() == [cosine, mixup, scratch]
    found.page.locator("#numbers").get_by_role("button", name="backbone").click()
    assert found.names() == [cosine, mixup, scratch]


def test_numbers_of_a_section_sort_as_numbers(visit: Open) -> None:
    table = visit().page.locator("#demo table")
    table.get_by_role("button").click()  # the only one: the other heading is empty
    rows = [text.split()[0:2] for text in table.locator("tbody tr").all_inner_texts()]
    assert rows == [["mixup,", "ten"], ["mixup,", "two"], ["mixup,", "none"]]


def test_the_filter_finds_backbones_and_tricks(visit: Open) -> None:
    records = [
        record_of("a_one", 0, 20.0, tricks=("mixup", "cosine_decay")),
        record_of("b_two", 0, 21.0, tricks=("mixup",)),
        record_of("c_two", 0, 22.0, tricks=()),
    ]
    found = visit(render_page(material_of(records), [], []))
    box = found.page.get_by_label("Backbones or tricks with")
    count = found.page.get_by_role("status")
    assert count.inner_text() == "3 of 3 rows"
    for text, names in (
        ("TWO", ["b_two", "c_two"]),
        ("mixup", ["a_one", "b_two"]),
        ("mixup cosine", ["a_one"]),
        ("none", []),
        ("", ["a_one", "b_two", "c_two"]),
    ):
        box.fill(text)
        assert found.names() == names
        assert count.inner_text() == f"{len(names)} of 3 rows"


def test_a_protocol_opens_and_closes_by_keys(visit: Open) -> None:
    page = visit().page
    dialog = page.get_by_role("dialog")
    assert not dialog.is_visible()
    page.get_by_label("Backbones or tricks with").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#numbers a')"):
            break
    number = page.evaluate("document.activeElement.textContent")
    assert number.startswith("25.0")
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    assert dialog.get_by_role("heading").first.inner_text() == "resnet50d_mixup: detection"
    text = dialog.inner_text()
    for part in ("24.00", "26.00", "budget.image_size", "128, 96", "trickle run --seeds 0 1"):
        assert part in text
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.textContent") == number
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


@pytest.mark.parametrize("width", [pytest.param(320, marks=pytest.mark.slow), 360])
def test_on_a_phone_only_the_table_scrolls_sideways(visit: Open, width: int) -> None:
    page = visit(width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator(".scroll", has=page.locator("#numbers"))
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    first = page.locator("#numbers tbody th").first
    before = first.bounding_box()
    box.evaluate("box => { box.scrollLeft = 150 }")
    assert first.bounding_box() == before  # the names stay in sight
    page.locator("#numbers a").first.click()
    assert page.get_by_role("dialog").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_a_plot_that_has_a_narrow_form_shows_one_of_the_two(visit: Open) -> None:
    def draw(figure: Any) -> None:
        figure.text(0, 0.5, f"{figure.get_size_inches()[0]:.0f} inches")

    plot = Plot(caption="c", alt="a", draw=draw, size=(8, 2), narrow=(3, 4))
    html = render_page(
        small_material(), [], [Section(key="k", title="k", lead="k", blocks=(plot,))]
    )
    for width, shown in ((360, "3 inches"), (1100, "8 inches")):
        page = visit(html, width=width).page
        found = page.locator("#k svg:visible")
        assert [text.strip() for text in found.all_text_contents()] == [shown]
        box = found.first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width


def test_the_answer_shows_tables_whose_arrows_are_heard_as_words(visit: Open) -> None:
    long = "leaf for melon, " * 6
    row = (Cell(text="mixup"), Cell(text="↑ +1.0", sort=1.0), Cell(text=long, sort=2.0))
    grid = Grid(caption="c", header=("trick", "mAP", "classes"), rows=(row, row))
    section = Section(key="k", title="k", lead="k", answer=(Paragraph(text="One helps."), grid))
    page = visit(render_page(small_material(), [], [section])).page
    answer = page.locator("#answer")
    assert answer.locator("p").first.inner_text() == "One helps."
    cell = answer.get_by_role("cell", name="raised by +1.0").first
    assert cell.get_by_text("↑").get_attribute("aria-hidden") == "true"
    prose = answer.locator("td").nth(1)
    assert prose.evaluate("e => [getComputedStyle(e).whiteSpace, getComputedStyle(e).textAlign]") \
        == ["normal", "left"]  # fmt: skip
    page.emulate_media(media="print")
    table = answer.locator("table")
    assert table.evaluate("t => getComputedStyle(t).breakInside") == "avoid"


def test_a_box_that_scrolls_is_shaded_and_tables_use_the_window(visit: Open) -> None:
    columns = tuple(Cell(text=f"{n}.25 ± 10.50", sort=1.0) for n in range(11))
    grid = Grid(caption="", header=("a",) * 11, rows=(columns,))
    html = render_page(
        small_material(), [], [Section(key="k", title="k", lead="k", blocks=(grid,))]
    )
    fits = "box => box.scrollWidth <= box.clientWidth"
    box = visit(html, width=1900).page.locator("#k .scroll")
    assert box.evaluate(fits)
    box = visit(html, width=1000).page.locator("#k .scroll")
    assert not box.evaluate(fits)
    ends = []
    for at in ("0", "box.scrollWidth"):
        box.evaluate(f"box => {{ box.scrollLeft = {at} }}")
        picture = Image.open(io.BytesIO(box.screenshot())).convert("L")
        ends.append(int(np.asarray(picture)[3, -3]))  # beside the caption
    assert ends[0] < 230
    assert ends[1] > 250


def test_on_a_phone_a_plot_keeps_letters_that_can_be_read(visit: Open) -> None:
    page = visit(width=360).page
    plot = page.locator("figure.plot svg")
    box = page.locator("figure.plot .scroll")
    assert plot.evaluate("p => p.getBoundingClientRect().width / p.width.baseVal.value") > 0.7
    assert box.evaluate("box => box.scrollWidth > box.clientWidth && box.tabIndex === 0")
    assert box.get_attribute("aria-label") == "mixup"


def test_a_dotted_number_says_that_it_opens(visit: Open) -> None:
    page = visit().page
    assert "A dotted number opens" in page.locator("#numbers caption").inner_text()
    link = page.locator("#numbers a").first
    assert link.get_attribute("aria-haspopup") == "dialog"
    for dotted in (link, page.locator("#demo td summary").first):
        style = dotted.evaluate(
            "e => [getComputedStyle(e).textDecorationStyle, getComputedStyle(e).cursor]"
        )
        assert style == ["dotted", "pointer"]
    assert "opens what is behind it" in page.locator("#demo caption").inner_text()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_is_light_or_dark_and_axe_finds_nothing_serious(visit: Open, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = visit(color_scheme=scheme)
    assert found.light() > 0.8 if scheme == "light" else found.light() < 0.25
    found.page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    for step in ("page", "dialog"):
        if step == "dialog":
            found.page.locator("#numbers a").first.click()
        violations = Axe().run(found.page).response["violations"]
        assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []


def test_a_plot_is_seen_on_both_grounds(visit: Open) -> None:
    """Its letters and axes are darker than a light ground, and lighter than a dark one."""
    for scheme in ("light", "dark"):
        plot = visit(color_scheme=scheme).page.get_by_role("img", name="mixup").first
        grey = np.asarray(Image.open(io.BytesIO(plot.screenshot())).convert("L")).astype(int)
        ground = int(np.median(grey))
        farthest = int(grey.flat[np.abs(grey - ground).argmax()])
        assert (
            (ground > 240 and farthest < 60)
            if scheme == "light"
            else (ground < 50 and farthest > 200)
        )


def test_it_prints_without_controls(visit: Open) -> None:
    columns = [Cell(text=f"{n}.25 ± 10.50", sort=1.0, detail="seeds") for n in range(25)]
    grids = {
        "narrow": Grid(
            caption="", header=("one two three four five",) * 7, rows=((*columns[:7],),)
        ),
        "broad": Grid(caption="", header=("a",) * 25, rows=((*columns,),)),
    }
    sections = [Section(key=k, title=k, lead=k, blocks=(grid,)) for k, grid in grids.items()]
    # A4 between its margins, at 96 dots per inch
    page = visit(
        render_page(small_material(), [], [section_of(), *sections]), width=int(186 / 25.4 * 96)
    ).page
    assert page.pdf().startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert not page.locator("#filter").is_visible()
    assert not page.get_by_role("navigation").is_visible()
    assert page.locator("#numbers").is_visible()
    assert page.locator("figure.plot").evaluate("f => getComputedStyle(f).breakInside") == "avoid"
    fits = "box => box.scrollWidth <= box.clientWidth"
    assert page.locator("#table .scroll").evaluate(fits)
    assert page.locator("#narrow .scroll").evaluate(fits)
    sides = {key: page.locator(f"#{key}").evaluate("s => getComputedStyle(s).page")
             for key in grids}  # fmt: skip
    assert sides == {"narrow": "auto", "broad": "wide"}
    # Nothing looks as if it could be opened; protocols are there without opening them.
    for hint in ("#numbers a", "#narrow summary"):
        line = page.locator(hint).first.evaluate("e => getComputedStyle(e).textDecorationLine")
        assert line == "none"
    assert not page.locator("#numbers .opens").is_visible()
    assert page.locator("#protocol-1 dt").first.is_visible()
    assert not page.locator(".cells").is_visible()


def test_without_scripts_everything_can_be_read(visit: Open) -> None:
    page = visit(java_script_enabled=False).page
    assert not page.locator("#filter").is_visible()
    page.locator("#numbers a").first.click()
    behind = page.locator("#behind-0-detection")
    assert behind.is_visible()
    assert "24.00" in behind.inner_text()


def test_a_hostile_name_does_nothing(visit: Open) -> None:
    records = [record_of(HOSTILE, seed, 20.0 + seed, tricks=(HOSTILE,)) for seed in (0, 1)]
    found = visit(render_page(material_of(records), [HOSTILE], [section_of(HOSTILE)]))
    assert found.names() == [HOSTILE]
    found.page.locator("#numbers a").first.click()
    assert HOSTILE in found.page.get_by_role("dialog").inner_text()
    assert HOSTILE in found.page.locator("figure.plot svg").first.text_content()
    # Even if a script stood in the page: its policy names the digest of its own alone.
    found.page.evaluate(
        "() => { const script = document.createElement('script');"
        "script.textContent = 'window.ran = true'; document.body.append(script) }"
    )
    assert found.page.evaluate("window.ran") is None
