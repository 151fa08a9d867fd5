"""Dead links: relative ones and anchors of all Markdown files of the repository."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs.markdown import anchor

_SKIPPED = {"runs", "build", "node_modules"}


def markdown_files(root: Path) -> list[Path]:
    """README.md, CHANGELOG.md and what lies in the folders, hidden ones and results left out."""
    found = [
        path
        for path in root.rglob("*.md")
        if not any(
            part.startswith(".") or part in _SKIPPED for part in path.relative_to(root).parts
        )
    ]
    return sorted(found)


def dead_links(root: Path) -> list[str]:
    """A sentence for each link or image whose file or heading is not there.

    Links to other sites are not followed: a check should not depend on the net.
    """
    root = root.resolve()
    parsed = {path: _parse(path.read_text(encoding="utf-8")) for path in markdown_files(root)}
    problems = []
    for path, page in parsed.items():
        for target in page.targets:
            problem = _problem(root, path, target, parsed)
            if problem is not None:
                problems.append(f"{path.relative_to(root)}: the link {target!r} is dead: {problem}")
    return problems


@dataclass(frozen=True)
class _Page:
    """targets: of links and images. anchors: of the headings."""

    targets: tuple[str, ...]
    anchors: frozenset[str]


@lru_cache(maxsize=1024)
def _parse(text: str) -> _Page:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    targets = [target for token in _flat(tokens) if (target := _target(token))]
    return _Page(tuple(targets), frozenset(_anchors(tokens)))


def _flat(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *_flat(token.children or []))]


def _target(token: Token) -> str | None:
    value = token.attrGet({"link_open": "href", "image": "src"}.get(token.type, ""))
    return None if value is None else str(value)


def _anchors(tokens: list[Token]) -> set[str]:
    """Of the headings; the n-th repetition of one gets -n, as on GitHub."""
    anchors: set[str] = set()
    counts: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        name = anchor(inline.content)
        count = counts.get(name, 0)
        counts[name] = count + 1
        anchors.add(f"{name}-{count}" if count else name)
    return anchors


def _problem(root: Path, path: Path, target: str, pages: dict[Path, _Page]) -> str | None:
    if "://" in target or target.startswith("mailto:"):
        return None
    file, _, fragment = unquote(target).partition("#")
    if file.startswith("/"):
        return "it begins at the root of a machine; write it relative to this file"
    place = (path.parent / file).resolve() if file else path
    if not place.is_relative_to(root):
        return "it leads out of the repository"
    if not place.exists():
        return f"there is no {place.relative_to(root)}"
    page = pages.get(place)
    if fragment and page is not None and fragment not in page.anchors:
        return f"there is no heading #{fragment}"
    return None
