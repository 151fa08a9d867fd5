"""What several processes must have in common before they train one model, or all end and say why.

Each function gathers what all of them know, so that all come to the same end at the same place.
"""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from engine.processes import world_size

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = (
    "backbones",
    "engine",
    "benchmarks",
    "classification",
    "detection",
    "segmentation",
    "eval",
)


class Disagreement(ValueError):
    """The processes of one training are not of one mind; the message names two of them."""


def require_same_software() -> None:
    """Disagreement where not all run the same Trickle, torch and Python."""
    from backbones.provenance import git_revision, version

    mine = {
        "Trickle": f"{version('trickle')} (sources {sources_digest()})",
        "torch": version("torch"),
        "Python": platform.python_version(),
    }
    found = _of_all(mine)
    if all(software == mine for software in found.values()):
        return
    revisions = _of_all(git_revision())  # asked for only now: git takes its time
    first, expected = next(iter(found.items()))
    for process, software in found.items():
        for name, there in software.items():
            if there != expected[name]:
                of_git = f" (git {revisions[process]} and {revisions[first]})"
                raise Disagreement(
                    f"{process} runs {name} {there}, {first} {expected[name]}"
                    f"{of_git if name == 'Trickle' else ''}: install the same on every machine"
                )


def require_same(what: str, mine: Any, advice: str) -> None:
    """Disagreement where `mine`, plain data that says what it is, differs between processes."""
    if world_size() == 1:
        return
    found = _of_all(mine)
    first, expected = next(iter(found.items()))
    for process, theirs in found.items():
        if theirs != expected:
            raise Disagreement(
                f"{process} has another {what} than {first}: {_differing(theirs, expected)}; "
                f"{advice}"
            )


def _differing(one: Any, other: Any, where: str = "") -> str:
    """The first place at which two pieces of plain data differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                path = f"{where}.{key}" if where else str(key)
                return _differing(one.get(key), other.get(key), path)
    return f"{where} is {one!r} and {other!r}".strip()


def all_or_none(do: Callable[[], T]) -> T:
    """What `do` gives; where it raises ValueError or OSError in a process, all end.

    Raises the process's own exception where all have the same to say, else Disagreement that names
    those that failed.
    """
    if world_size() == 1:
        return do()
    failed: Exception | None = None
    try:
        found = do()
    except (ValueError, OSError) as error:
        failed = error
    problems = _of_all(None if failed is None else str(failed))
    if failed is not None and set(problems.values()) == {str(failed)}:
        raise failed
    told = [f"{process}: {problem}" for process, problem in problems.items() if problem is not None]
    if told:
        raise Disagreement("\n".join(told)) from failed
    return found


def sources_digest() -> str:
    """16 hexadecimal digits of the sha256 of Trickle's sources and their names."""
    content = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((_ROOT / package).rglob("*.py")):
            content.update(f"{file.relative_to(_ROOT).as_posix()}\0".encode())
            content.update(file.read_bytes())
    return content.hexdigest()[:16]


def _of_all(mine: T) -> dict[str, T]:
    """What each process says, the first one first, by its name: "process 1 on node-b"."""
    from torch import distributed

    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, (socket.gethostname(), mine))
    return {f"process {number} on {host}": said for number, (host, said) in enumerate(found)}
