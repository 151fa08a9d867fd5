"""The table of all tricks and a page for each, from their cards and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from classification.recipe import Recipe
from classification.tricks.examples import usage
from classification.tricks.trick import KINDS, Trick
from docs.figures import FIGURES, suffix
from docs.markdown import GENERATED, anchor, escape, first_sentence, link_papers, table
from docs.overheads import Overheads
from docs.source import TrickSource, read_source

FOLDER = Path("docs/tricks")
FIGURE_FOLDER = FOLDER / "figures"

CHAPTERS = {
    "efficiency": "Efficiency",
    "schedule": "Learning-rate schedules",
    "targets": "Targets and losses",
    "mixing": "Mixing",
    "augmentation": "Augmentation",
    "optimizer": "Optimizers",
    "regularization": "Regularization",
    "initialization": "Initialization",
    "fine_tuning": "Fine-tuning",
}
assert tuple(CHAPTERS) == KINDS

_ONE_OF = {
    "schedule": "every other schedule",
    "pairing": "every other way of pairing",
    "augmentation_policy": "every other augmentation policy",
    "erasing": "the other way of erasing",
    "loss": "every other loss",
    "optimizer": "every other optimizer",
    "initialization": "every other initialization",
}


def trick_pages(
    tricks: Mapping[str, type[Trick]], recipes: Mapping[str, Recipe], overheads: Overheads
) -> dict[Path, str]:
    """Text by path from the root. Raises ValueError for a trick without docstrings."""
    sources = {name: read_source(trick) for name, trick in tricks.items()}
    pages = {FOLDER / "README.md": _overview(tricks, sources, overheads)}
    for name, trick in tricks.items():
        pages[FOLDER / f"{name}.md"] = _page(trick, sources[name], tricks, recipes, overheads)
    return pages


def conflicts(trick: type[Trick], tricks: Mapping[str, type[Trick]]) -> list[str]:
    """Names of what cannot stand beside the trick by its card or by theirs, both ways."""
    named = set(trick.card.conflicts)
    named |= {name for name, other in tricks.items() if trick.name in other.card.conflicts}
    return sorted(named)


def _overview(
    tricks: Mapping[str, type[Trick]], sources: Mapping[str, TrickSource], overheads: Overheads
) -> str:
    parts = [
        GENERATED,
        "# Tricks",
        f"{len(tricks)} tricks, each one file in [`classification/tricks/`]"
        "(../../classification/tricks) and one page here. A recipe takes any of them in: "
        "`recipe | Mixup(alpha=0.2)`; what conflicts is refused. Recipes that are made of them: "
        "[recipes.md](../recipes.md).",
        "*Expected effect* is what the source reports, ImageNet top-1 in percent points unless it "
        "says otherwise; none of it was measured here.",
        overheads.about(),
        "Chapters: "
        + ", ".join(f"[{title}](#{anchor(title)})" for title in CHAPTERS.values())
        + ".",
    ]
    for kind, title in CHAPTERS.items():
        rows = [
            (
                f"[{name}]({name}.md)",
                escape(first_sentence(sources[name].about)),
                link_papers(escape(_source(trick))),
                link_papers(escape(trick.card.effect)),
                overheads.short(name),
                _conflict_cell(trick, tricks),
            )
            for name, trick in tricks.items()
            if trick.kind == kind
        ]
        header = ("trick", "what it does", "source", "expected effect", "overhead:", "conflicts")
        parts += [f"## {title}", table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _source(trick: type[Trick]) -> str:
    return f"{trick.card.paper}, {trick.card.section}"


def _conflict_cell(trick: type[Trick], tricks: Mapping[str, type[Trick]]) -> str:
    cells = [f"[{name}]({name}.md)" for name in conflicts(trick, tricks)]
    if _rivals(trick, tricks):
        cells.append(_one_of(trick))
    return ", ".join(cells) or "–"


def _rivals(trick: type[Trick], tricks: Mapping[str, type[Trick]]) -> list[str]:
    if trick.alternatives is None:
        return []
    return [
        name
        for name, other in tricks.items()
        if other.alternatives == trick.alternatives and name != trick.name
    ]


def _one_of(trick: type[Trick]) -> str:
    assert trick.alternatives is not None
    return _ONE_OF.get(trick.alternatives, f"every other {trick.alternatives.replace('_', ' ')}")


def _page(
    trick: type[Trick],
    source: TrickSource,
    tricks: Mapping[str, type[Trick]],
    recipes: Mapping[str, Recipe],
    overheads: Overheads,
) -> str:
    name, chapter = trick.name, CHAPTERS[trick.kind]
    file = source.path.as_posix()
    parts = [
        GENERATED,
        f"# {name}",
        f"[All tricks](README.md) · [{chapter}](README.md#{anchor(chapter)})"
        f" · [`{file}`](../../{file})",
        link_papers(escape(source.about)),
        f"```python\nrecipe | {usage(name)}\n```",
    ]
    if name in FIGURES:
        caption = " ".join((FIGURES[name].__doc__ or "").split())
        parts += [f"![{name}](figures/{name}{suffix(name)})", escape(caption)]
    parts += ["## Knobs", _knobs(source), _notes(source)]
    parts += ["## Source and effect", _card(trick, tricks)]
    parts += ["## Overhead", overheads.long(name)]
    if source.functions:
        title = "Closed form" if trick.kind == "schedule" else "The maths"
        code = "\n\n\n".join(source.functions)
        parts += [f"## {title}", f"```python\n{code}\n```"]
    parts += ["## Recipes", _used_by(name, recipes)]
    return "\n\n".join(parts) + "\n"


def _knobs(source: TrickSource) -> str:
    if not source.knobs:
        return "None."
    rows = [
        (
            f"`{knob.name}`",
            f"`{knob.type}`",
            "to be given" if knob.default is None else f"`{knob.default}`",
        )
        for knob in source.knobs
    ]
    return table(("knob", "type", "default"), rows)


def _notes(source: TrickSource) -> str:
    """The class's docstring, in which the names of knobs before a colon are marked as such."""
    text = link_papers(escape(source.notes))
    names = "|".join(re.escape(knob.name) for knob in source.knobs)
    if not names:
        return text
    pattern = rf"(?m)(?:(?<=^)|(?<=[.;] ))((?:{names})(?:,\s(?:{names}))*)(?=(?: \([^)]*\))?:)"
    return re.sub(pattern, lambda found: f"**{found[1]}**", text)


def _card(trick: type[Trick], tricks: Mapping[str, type[Trick]]) -> str:
    card = trick.card
    rows = [
        ("paper", link_papers(escape(card.paper))),
        ("section", link_papers(escape(card.section))),
    ]
    if card.equation is not None:
        rows.append(("equation", f"`{card.equation}`"))
    rows.append(("expected effect", link_papers(escape(card.effect))))
    named = [f"[{name}]({name}.md)" for name in conflicts(trick, tricks)]
    rows.append(("conflicts with", ", ".join(named) or "–"))
    if rivals := _rivals(trick, tricks):
        links = ", ".join(f"[{name}]({name}.md)" for name in rivals)
        rows.append(("one of a kind", f"takes the place of {links}"))
    return table(("", ""), rows)


def _used_by(name: str, recipes: Mapping[str, Recipe]) -> str:
    users = [recipe for recipe, one in recipes.items() if name in one.trick_names]
    if not users:
        return "None of ours: add it to any."
    return ", ".join(f"[{user}](../recipes.md#{anchor(user)})" for user in users) + "."
