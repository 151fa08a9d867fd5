"""From the records of one table to everything that is written of it: tables and the page."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from backbones.atomic import write_text_atomic
from eval.layout import Layout
from eval.notes import protocol_lines
from eval.records import canonical
from eval.sections.material import Material
from eval.summary import Table
from eval.tables import to_json, write_tables

_LAST_LINE = 100  # bytes, at most
_PACKAGES = (
    "backbones", "engine", "benchmarks", "classification", "detection", "segmentation", "eval",
)  # fmt: skip
_SOURCES = frozenset({".py", ".html", ".css", ".js", ".json", ".toml"})


def write_report(
    out: Path,
    material: Material,
    notes: Sequence[str],
    *,
    stamps: Sequence[str] = (),
    anew: bool = True,
    named: Table | None = None,
) -> tuple[Path, ...]:
    """Writes the tables and `report.html` into `out`; gives their paths.

    notes: what stands below the table, as lines of markdown. stamps: change with the evidence.
    anew: else a page that was made of the same is left as it is. named: the material's table with
    the names of the records, for programs. Raises OSError.
    """
    table = material.table
    compared = {"classification", *table.tasks}
    protocols = protocol_lines(table, [r for r in material.records if r.task in compared])
    paths = write_tables(out, named or table, notes, protocols, shown=table)
    page = Layout(out).page
    made_of = f"<!-- made of {_digest(material, notes, stamps)} -->\n"
    if anew or not _ends_with(page, made_of):
        # Late: what draws takes a second to load.
        from eval.page.page import render_page
        from eval.sections.all_sections import make_sections

        text = render_page(material, notes, make_sections(material))
        write_text_atomic(page, text.rstrip("\n") + "\n" + made_of)
    return (*paths, page)


def _digest(material: Material, notes: Sequence[str], stamps: Sequence[str]) -> str:
    """sha256 over all that a page follows from, our sources and published numbers included."""
    folders = [Path(__file__).parents[1] / name for name in _PACKAGES]
    sources = sorted(path for folder in folders for path in folder.rglob("*.*"))
    shown = (*material.records, *material.teachers, *material.probes)
    parts = [
        *(path.read_bytes() for path in sources if path.suffix in _SOURCES),
        canonical(to_json(material.table)).encode(),
        *(r.model_dump_json().encode() for r in shown),
        *(text.encode("utf-8", "surrogateescape") for text in (*notes, *stamps)),
        repr(
            (
                material.omissions,
                sorted(material.origins.items()),
                sorted(material.classifiers.items()),
            )
        ).encode("utf-8", "replace"),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _ends_with(path: Path, line: str) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_LINE))
            return file.read().endswith(line.encode())
    except OSError:
        return False
