"""What a trick's file says of itself, as it is written there: docstrings, knobs and functions."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path

from classification.tricks.schedule import Schedule
from classification.tricks.trick import Trick

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Knob:
    """default: as written; None where the knob has to be given."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True, kw_only=True)
class TrickSource:
    """path: of the file, from the root. about: the file's docstring. notes: the class's.

    functions: the public functions of the file, signature and docstring, and a schedule's closed
    form with its body.
    """

    path: Path
    about: str
    notes: str
    knobs: tuple[Knob, ...]
    functions: tuple[str, ...]


def read_source(trick: type[Trick]) -> TrickSource:
    """Raises ValueError for a trick whose file or class has no docstring."""
    file = Path(inspect.getfile(trick))
    text = file.read_text(encoding="utf-8")
    module = ast.parse(text)
    found = [n for n in module.body if isinstance(n, ast.ClassDef) and n.name == trick.__name__]
    about, notes = ast.get_docstring(module), ast.get_docstring(found[0])
    if not about or not notes:
        raise ValueError(f"{file}: the file and the class of a trick each need a docstring")
    functions = [
        _head(node, text)
        for node in module.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith(("_", "check_"))
    ]
    if issubclass(trick, Schedule):
        functions += [
            _dedented(node, text)
            for node in found[0].body
            if isinstance(node, ast.FunctionDef) and node.name == "factor"
        ]
    return TrickSource(
        path=file.relative_to(ROOT) if file.is_relative_to(ROOT) else file,
        about=about,
        notes=notes,
        knobs=tuple(_knobs(found[0])),
        functions=tuple(functions),
    )


def module_docstring(name: str) -> str:
    """Of a module that has been imported."""
    return inspect.cleandoc(sys.modules[name].__doc__ or "")


def _knobs(node: ast.ClassDef) -> list[Knob]:
    return [
        Knob(
            name=item.target.id,
            type=ast.unparse(item.annotation),
            default=None if item.value is None else ast.unparse(item.value),
        )
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not ast.unparse(item.annotation).startswith("ClassVar")
    ]


def _head(node: ast.FunctionDef, text: str) -> str:
    """From `def` to the end of the docstring."""
    docstring = node.body[0] if ast.get_docstring(node) else None
    last = docstring.end_lineno if docstring is not None else node.body[0].lineno - 1
    return _lines(text, node.lineno, last or node.lineno)


def _dedented(node: ast.FunctionDef, text: str) -> str:
    return _lines(text, node.lineno, node.end_lineno or node.lineno)


def _lines(text: str, first: int, last: int) -> str:
    return inspect.cleandoc("\n" + "\n".join(text.splitlines()[first - 1 : last]))
