"""Writes the documentation that follows from the code: a page and a figure for each trick, recipes.

python docs/build.py            writes docs/tricks/ and the pages recipes, reliability, performance
python docs/build.py --check    writes nothing; tells what is out of date, missing or dead, and
                                ends with 1 if anything is
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from classification.recipe import Recipe
from classification.recipes import CARDS, RECIPES
from classification.recipes.card import RecipeCard
from classification.tricks import TRICKS
from classification.tricks.examples import EXAMPLES, usage
from classification.tricks.trick import KINDS, Trick
from docs.bench_results import read_benches
from docs.figures import FIGURES, suffix
from docs.growth_figure import FIGURE, draw_growth, is_drawn
from docs.links import dead_links
from docs.markdown import GENERATED
from docs.overheads import COMMAND, FILE, Overheads
from docs.performance_page import performance_page
from docs.recipe_page import PAGE, recipe_page
from docs.reliability_page import failures, reliability_page
from docs.trick_pages import FIGURE_FOLDER, FOLDER, trick_pages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
STYLE = Path(__file__).with_name("trickle.mplstyle")
DIGESTS = FIGURE_FOLDER / "digests.json"
LARGEST_FIGURE, LARGEST_FOLDER = 60_000, 3_000_000


def pages(root: Path = ROOT) -> dict[Path, str]:
    """All texts that follow from the code and from what was measured, by path from the root.

    root: of the measurements' files; the code is that which runs. Raises ValueError where a trick
    or a recipe lacks what its page is made of.
    """
    return {
        **trick_pages(TRICKS, RECIPES, Overheads.read(root)),
        PAGE: recipe_page(),
        **reliability_page(root),
        **performance_page(root),
    }


def figure_path(name: str) -> Path:
    return FIGURE_FOLDER / f"{name}{suffix(name)}"


def figure_digest(name: str) -> str:
    """sha256 over what a figure follows from: the files of drawing, samples, style and trick.

    Not of its bytes: another version of matplotlib or torch draws others from the same code.
    """
    drawing = Path(inspect.getfile(FIGURES[name]))
    trick = Path(inspect.getfile(TRICKS[name]))
    files = (drawing, drawing.with_name("samples.py"), STYLE, trick)
    parts = [file.read_text(encoding="utf-8") for file in files]
    return hashlib.sha256("\0".join([*parts, usage(name)]).encode()).hexdigest()


def build(root: Path = ROOT) -> list[Path]:
    """Writes what is out of date and removes what no trick has any more; gives what changed."""
    changed = []
    for path, text in pages(root).items():
        if _read(root / path) != text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
            changed.append(path)
    for name in _stale_figures(root):
        draw_figure(name, root / figure_path(name))
        changed.append(figure_path(name))
    digests = {name: figure_digest(name) for name in sorted(FIGURES)}
    (root / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    if (growth := read_benches(root).get("growth")) and not is_drawn(growth, root / FIGURE):
        draw_growth(growth, root / FIGURE)
        changed.append(FIGURE)
    for path in _left_over(root):
        (root / path).unlink()
        changed.append(path)
    return changed


def draw_figure(name: str, file: Path) -> None:
    """Draws the figure of a trick with its example's knobs."""
    from matplotlib import style

    file.parent.mkdir(parents=True, exist_ok=True)
    with style.context(str(STYLE)):
        figure = FIGURES[name](EXAMPLES[name])
        if file.suffix == ".svg":
            figure.savefig(file, metadata={"Date": None})
        else:
            file.write_bytes(_jpeg(figure))


def _jpeg(figure: Figure) -> bytes:
    """As good as the allowed size permits."""
    for quality in range(90, 40, -5):
        data = io.BytesIO()
        figure.savefig(data, format="jpg", pil_kwargs={"quality": quality, "optimize": True})
        if data.tell() <= LARGEST_FIGURE:
            break
    return data.getvalue()


def check(root: Path = ROOT) -> list[str]:
    """A sentence for each page that is out of date, what is missing, and each dead link."""
    problems = missing_cards(TRICKS, RECIPES, CARDS)
    if problems:  # pages cannot be made of cards that are not there
        return problems + dead_links(root)
    for path, text in pages(root).items():
        found = _read(root / path)
        if found != text:
            problems.append(f"{path} is {'missing' if found is None else 'out of date'}")
    problems += [f"{figure_path(name)} is missing or out of date" for name in _stale_figures(root)]
    if (growth := read_benches(root).get("growth")) and not is_drawn(growth, root / FIGURE):
        problems.append(f"{FIGURE} is missing or out of date")
    problems += [f"{path} belongs to no trick" for path in _left_over(root)]
    problems += _too_large(root)
    problems += failures(root)
    overheads = Overheads.read(root)
    if overheads.data is not None and (names := overheads.missing(list(TRICKS))):
        problems.append(f"{FILE} says nothing of {', '.join(names)}: {COMMAND}")
    return problems + dead_links(root)


def missing_cards(
    tricks: Mapping[str, type[Trick]],
    recipes: Mapping[str, Recipe],
    cards: Mapping[str, RecipeCard],
) -> list[str]:
    """A sentence for each trick or recipe that does not say where it comes from."""
    problems = []
    for name, trick in tricks.items():
        lacking = [part for part in ("paper", "section", "effect") if not _said(trick, part)]
        lacking += [] if inspect.cleandoc(trick.__dict__.get("__doc__") or "") else ["docstring"]
        lacking += [] if inspect.getmodule(trick).__doc__ else ["docstring of its file"]
        if getattr(trick, "kind", None) not in KINDS:
            lacking.append("kind")
        if getattr(trick, "name", None) != name:
            lacking.append(f"name {name!r}")
        if lacking:
            problems.append(f"the trick {name} lacks: {', '.join(lacking)}")
        unknown = [c for c in getattr(_card(trick), "conflicts", ()) if c not in tricks]
        if unknown:
            problems.append(f"the trick {name} conflicts with unknown ones: {', '.join(unknown)}")
    for name in recipes:
        if name not in cards:
            problems.append(f"the recipe {name} has no RecipeCard")
        elif not cards[name].source.strip():
            problems.append(f"the card of the recipe {name} lacks: source")
    return problems


def _card(trick: type[Trick]) -> object | None:
    return getattr(trick, "card", None)


def _said(trick: type[Trick], part: str) -> bool:
    return bool(str(getattr(_card(trick), part, "") or "").strip())


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _stale_figures(root: Path) -> list[str]:
    """Names of those that are not there, empty, or drawn by other code."""
    known = json.loads(_read(root / DIGESTS) or "{}")
    return [
        name
        for name in FIGURES
        if known.get(name) != figure_digest(name)
        or not (root / figure_path(name)).is_file()
        or (root / figure_path(name)).stat().st_size == 0
    ]


def _left_over(root: Path) -> list[Path]:
    """Pages and figures of tricks that are no more; what was written by hand is left alone."""
    texts = [p for p in (root / FOLDER).glob("*.md") if GENERATED in (_read(p) or "")]
    drawn = [p for p in (root / FIGURE_FOLDER).glob("*") if p.is_file()]
    wanted = {*(FOLDER / f"{name}.md" for name in TRICKS), FOLDER / "README.md", DIGESTS}
    wanted |= {figure_path(name) for name in FIGURES}
    return sorted({p.relative_to(root) for p in [*texts, *drawn]} - wanted)


def _too_large(root: Path) -> list[str]:
    sizes = {p: p.stat().st_size for p in sorted((root / FOLDER).rglob("*")) if p.is_file()}
    problems = [
        f"{path.relative_to(root)} has {size:,} bytes, and may have {LARGEST_FIGURE:,}"
        for path, size in sizes.items()
        if path.suffix != ".md" and size > LARGEST_FIGURE
    ]
    if (total := sum(sizes.values())) > LARGEST_FOLDER:
        problems.append(f"{FOLDER} has {total:,} bytes, and may have {LARGEST_FOLDER:,}")
    return problems


def main(argv: list[str] | None = None, *, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, tell what is amiss")
    arguments = parser.parse_args(argv)
    if not arguments.check:
        if problems := missing_cards(TRICKS, RECIPES, CARDS):
            print("\n".join(problems), file=sys.stderr)
            return 1
        changed = build(root)
        print("\n".join(f"wrote {path}" for path in changed) or "all up to date")
    problems = check(root)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        print(f"{len(problems)} problems; `python docs/build.py` writes anew", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
