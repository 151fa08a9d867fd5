"""The documentation that follows from the code: what `docs/build.py` writes and what it tells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classification.recipe import Recipe
from classification.recipes import CARDS, RECIPES
from classification.tricks import TRICKS, Card
from classification.tricks.examples import EXAMPLES
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.trick import Trick
from docs.build import ROOT, build, check, figure_path, main, missing_cards, pages
from docs.figures import FIGURES
from docs.markdown import anchor, escape, first_sentence, link_papers

_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "*.egg-info", "results")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's files, without what is hidden and results."""
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=_NOT_COPIED)


@pytest.fixture(scope="module")
def already() -> set[str]:
    """What is amiss in the repository itself: nothing, but that is another test's matter."""
    return set(check())


@pytest.mark.slow  # `make check` runs it
def test_documentation_of_the_repository_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, "run: python docs/build.py"
    assert capsys.readouterr() == ("", "")


def test_check_ends_with_1_and_a_list(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "docs/tricks/mixup.md").unlink()
    (copy / "docs/recipes.md").write_text("# Recipes\n")
    assert main(["--check"], root=copy) == 1
    told = capsys.readouterr().err.splitlines()
    assert {"docs/tricks/mixup.md is missing", "docs/recipes.md is out of date"} < set(told)
    assert not (copy / "docs/tricks/mixup.md").exists()


def test_every_trick_has_a_page_and_a_row_and_every_recipe_a_section() -> None:
    texts = {path.as_posix(): text for path, text in pages().items()}
    table, recipes = texts["docs/tricks/README.md"], texts["docs/recipes.md"]
    for name, trick in TRICKS.items():
        page = texts[f"docs/tricks/{name}.md"]
        assert page.count(f"recipe | {trick.__name__}(") == 1
        rows = [line for line in table.splitlines() if line.startswith(f"| [{name}]({name}.md) |")]
        assert len(rows) == 1
        assert (f"](figures/{name}." in page) == (name in FIGURES)
    of_tricks = {"docs/recipes.md", *(name for name in texts if name.startswith("docs/tricks/"))}
    assert len(of_tricks) == len(TRICKS) + 2
    assert texts.keys() - of_tricks <= {"docs/reliability.md", "docs/performance.md"}
    assert all(f"### {name}\n" in recipes for name in RECIPES)


def test_page_tells_knobs_source_conflicts_and_recipes() -> None:
    texts = {path.as_posix(): text for path, text in pages().items()}
    one_cycle, cosine = texts["docs/tricks/one_cycle.md"], texts["docs/tricks/cosine_decay.md"]
    assert "| `share_up` | `float` | `0.3` |" in one_cycle
    assert "[arXiv:1708.07120](https://arxiv.org/abs/1708.07120)" in one_cycle
    assert "| conflicts with | [warmup](warmup.md) |" in one_cycle
    # A conflict holds both ways, whichever of the two cards names it.
    assert "[one_cycle](one_cycle.md)" in texts["docs/tricks/warmup.md"]
    assert "[mixup](../recipes.md#mixup)" in cosine
    assert "[standard]" not in cosine
    assert "def factor(self, epoch: float, *, start: float, epochs: float) -> float:" in cosine


def test_recipe_page_gives_the_papers_numbers() -> None:
    """Tables 4 and 6 of He et al. 2019, as they are printed there."""
    text = pages()[Path("docs/recipes.md")]
    assert "| [smooth](#smooth) | – | 78.4 | 72.93 | 78.37 | – | – |" in text
    assert (
        "| + zero gamma | [76.19](#ladder256_zero_gamma) | [76.37](#ladder1024_zero_gamma) |"
        in (text)
    )
    assert "`trickle pretrain --backbone resnet50d_mixup --benchmark paper`" in text


def _remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def _append(name: str, text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with (root / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return change


def _change_digest(root: Path) -> None:
    file = root / "docs/tricks/figures/digests.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "ema": "0"}))


def _claim_overheads(root: Path) -> None:
    (root / "docs/trick_overhead.json").write_text(json.dumps(_overheads("mixup")))


AMISS: tuple[tuple[tuple[Callable[[Path], Any], str], ...], ...] = (
    (
        (_remove("docs/tricks/mixup.md"), "docs/tricks/mixup.md is missing"),
        (_append("docs/recipes.md", "More.\n"), "docs/recipes.md is out of date"),
        (_remove("docs/tricks/figures/ema.svg"), "docs/tricks/figures/ema.svg is missing"),
        (
            lambda root: (root / "docs/tricks/figures/mixup.jpg").write_bytes(b""),
            "docs/tricks/figures/mixup.jpg is missing or out of date",
        ),
        (
            lambda root: shutil.copy(root / "docs/tricks/ema.md", root / "docs/tricks/old.md"),
            "docs/tricks/old.md belongs to no trick",
        ),
        (
            _append("README.md", "\n[x](docs/none.md)\n"),
            "README.md: the link 'docs/none.md' is dead",
        ),
        (_append("README.md", "\n![x](none.png)\n"), "README.md: the link 'none.png' is dead"),
        (_append("README.md", "\n[x](../other)\n"), "it leads out of the repository"),
        (
            _append("CHANGELOG.md", "\n[x](README.md#no-such-part)\n"),
            "CHANGELOG.md: the link 'README.md#no-such-part' is dead",
        ),
        (_claim_overheads, "docs/trick_overhead.json says nothing of"),
    ),
    (
        (_append("docs/tricks/mixup.md", "More.\n"), "docs/tricks/mixup.md is out of date"),
        (_change_digest, "docs/tricks/figures/ema.svg is missing or out of date"),
        (
            lambda root: (root / "docs/tricks/figures/mixup.jpg").write_bytes(b"0" * 60_001),
            "docs/tricks/figures/mixup.jpg has 60,001 bytes, and may have 60,000",
        ),
    ),
)
"""What is changed, and what is then told: all of a group at once, since each look takes seconds."""


@pytest.mark.parametrize("changes", AMISS)
def test_what_is_amiss_is_told(
    copy: Path, already: set[str], changes: tuple[tuple[Callable[[Path], Any], str], ...]
) -> None:
    for change, _ in changes:
        change(copy)
    problems = set(check(copy)) - already
    told = [told for _, told in changes]
    assert [text for text in told if any(text in problem for problem in problems)] == told


def test_links_that_hold_are_not_told(copy: Path, already: set[str]) -> None:
    text = (
        "\n## A *new* `part_1`: yes/no\n\n[a](#a-new-part_1-yesno), [b](docs/recipes.md#mixup), "
        "[c](classification/tricks), [d](https://example.org/none), `[e](none.md)`\n\n"
        "    [f](none.md)\n"
    )
    _append("README.md", text)(copy)
    assert set(check(copy)) == already


def test_build_writes_the_same_bytes_again_and_removes_what_is_no_more(copy: Path) -> None:
    build(copy)
    page, left = copy / "docs/tricks/mixup.md", copy / "docs/tricks/old.md"
    by_hand = copy / "docs/tricks/notes.md"
    expected = page.read_bytes()
    shutil.copy(page, left)
    by_hand.write_text("# Written by hand\n")
    page.unlink()
    assert build(copy) == [Path("docs/tricks/mixup.md"), Path("docs/tricks/old.md")]
    assert page.read_bytes() == expected
    assert not left.exists()
    assert by_hand.exists()
    assert build(copy) == []


def test_figure_that_is_missing_is_drawn_anew_with_the_same_bytes(copy: Path) -> None:
    file = copy / "docs/tricks/figures/large_batch.svg"
    file.unlink()
    build(copy)
    first = file.read_bytes()
    file.unlink()
    build(copy)
    assert file.read_bytes() == first
    assert b"0.4 at 1024" in first  # linear scaling: 0.1 at 256


def _with_card(**changes: str) -> type[Trick]:
    """LabelSmoothing with another card."""
    card = replace(LabelSmoothing.card, **changes)
    return type("LabelSmoothing", (LabelSmoothing,), {"card": card, "__doc__": "Doc."})


@pytest.mark.parametrize("part", ["paper", "section", "effect"])
def test_trick_without_a_part_of_its_card_is_told(part: str) -> None:
    tricks = {**TRICKS, "label_smoothing": _with_card(**{part: " "})}
    assert missing_cards(tricks, RECIPES, CARDS) == [f"the trick label_smoothing lacks: {part}"]


def test_tricks_and_recipes_that_say_nothing_are_told() -> None:
    bare = type("Bare", (Trick,), {"name": "bare", "kind": "mixing"})
    odd = type(
        "Odd",
        (LabelSmoothing,),
        {
            "__doc__": "Doc.",
            "name": "odd",
            "kind": "magic",
            "card": Card(paper="p", section="s", effect="e", conflicts=("gone",)),
        },
    )
    recipes = {"plain": Recipe(), "unsourced": Recipe()}
    cards = {"unsourced": replace(CARDS["mixup"], source="")}
    assert missing_cards({"bare": bare, "odd": odd}, recipes, cards) == [
        "the trick bare lacks: paper, section, effect, docstring",
        "the trick odd lacks: kind",
        "the trick odd conflicts with unknown ones: gone",
        "the recipe plain has no RecipeCard",
        "the card of the recipe unsourced lacks: source",
    ]


def _overheads(*names: str) -> dict[str, Any]:
    percent = {"estimate": 1.25, "q1": 0.5, "q3": 2.0}
    entry = {"example": "Mixup(alpha=0.2)", "rounds": 30, "ratio": 0.99, "percent": percent}
    step = {"architecture": "resnet50d", "width": 0.25, "image_size": 64, "batch_size": 64}
    noise = {"percent": {"estimate": 0.1, "q1": -1.0, "q3": 1.0}, "seconds": {"without": 0.25}}
    return {
        "machine": {"cpu": "A CPU", "threads": "2", "load_average": "1.5"},
        "raw": {**step, "baseline": "b", "noise": noise, "tricks": dict.fromkeys(names, entry)},
    }


def test_measured_overheads_are_printed(copy: Path) -> None:
    data = _overheads(*TRICKS)
    data["raw"]["tricks"]["epochs"] = {"unmeasured": "it changes how many steps there are"}
    lost = {"estimate": 1.0, "q1": -3.0, "q3": 4.0}
    data["raw"]["tricks"]["cut_mix"] = {**data["raw"]["tricks"]["mixup"], "percent": lost}
    (copy / "docs/trick_overhead.json").write_text(json.dumps(data))
    texts = pages(copy)
    table = texts[Path("docs/tricks/README.md")]
    (row,) = (line for line in table.splitlines() if line.startswith("| [cut_mix]("))
    assert row.split(" | ")[4] == "in the noise"
    (row,) = (line for line in table.splitlines() if line.startswith("| [mixup]("))
    assert row.split(" | ")[4] == "+1.2%"
    assert "on A CPU with 2 threads" in table
    assert "250 ms" in table
    page = texts[Path("docs/tricks/mixup.md")]
    assert "+1.2% longer, with quartiles of +0.5% and +2.0% over 30 rounds" in page
    unmeasured = texts[Path("docs/tricks/epochs.md")]
    assert "Not measured: it changes how many steps there are." in unmeasured


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Learning-rate schedules", "learning-rate-schedules"),
        ("usi", "usi"),
        ("`a_b` & c", "a_b--c"),
        ("1. What, why?", "1-what-why"),
        ("The [page](x.md) of it", "the-page-of-it"),
    ],
)
def test_anchor_is_the_one_of_github(heading: str, expected: str) -> None:
    assert anchor(heading) == expected


def test_plain_text_stays_plain_in_markdown() -> None:
    from markdown_it import MarkdownIt

    text = "a * b * c, _x_ and snake_case, x < y, `*code*`, U(-a, a)"
    html = MarkdownIt("commonmark").render(escape(text))
    assert html == (
        "<p>a * b * c, _x_ and snake_case, x &lt; y, <code>*code*</code>, U(-a, a)</p>\n"
    )


def test_first_sentence_ends_at_its_full_stop() -> None:
    assert (
        first_sentence("He et al. 2019 do\nthis. And that.\n\nMore.") == "He et al. 2019 do this."
    )
    assert first_sentence("No stop\n\nMore.") == "No stop"
    assert link_papers("x, arXiv:2110.00476") == (
        "x, [arXiv:2110.00476](https://arxiv.org/abs/2110.00476)"
    )


def test_logit_gap_of_the_figure_is_where_the_smoothed_loss_is_least() -> None:
    """Found by minimizing the cross-entropy itself, not by its closed form."""
    from scipy.optimize import minimize_scalar

    axes = FIGURES["label_smoothing"](EXAMPLES["label_smoothing"]).axes[0]
    curves = {line.get_label(): line.get_xydata() for line in axes.lines}
    for classes in (10, 100, 1000):
        for epsilon, gap in curves[f"K = {classes}"][200:1800:400]:

            def loss(z: float, k: int = classes, e: float = epsilon) -> float:
                total = np.logaddexp(z, np.log(k - 1))  # the other logits are 0
                return (1 - e) * (total - z) + e * total

            assert minimize_scalar(loss, bounds=(-5, 30), method="bounded").x == pytest.approx(
                gap, abs=1e-3
            )


def test_schedule_of_the_figure_is_the_closed_form() -> None:
    """Cosine decay over 120 epochs after 5 of linear warmup: eq. 3 of He et al. 2019."""
    axes = FIGURES["cosine_decay"](EXAMPLES["cosine_decay"]).axes[0]
    epoch, factor = np.asarray(axes.lines[0].get_xydata()).T
    cosine = 0.5 * (1 + np.cos(np.pi * (epoch - 5) / 115))
    np.testing.assert_allclose(factor, np.where(epoch < 5, epoch / 5, cosine), atol=1e-12)


def test_figures_belong_to_tricks_and_lie_where_pages_look_for_them() -> None:
    assert set(FIGURES) <= set(TRICKS)
    assert figure_path("mixup") == Path("docs/tricks/figures/mixup.jpg")
    assert figure_path("ema") == Path("docs/tricks/figures/ema.svg")
