"""Carries out a page of docs/: its commands and its changes, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("backbones", "benchmarks", "classification", "detection", "engine", "eval"),
    *("examples", "segmentation"),
)
_TRICKLE = """
trickle() { python -c 'import sys; from eval.cli import main; sys.exit(main())' "$@"; }
"""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The text of each fenced block of that language."""
    return [text for found, text in _BLOCK.findall(page) if found == language]


def commands(page: str) -> list[str]:
    """The lines of the page's bash blocks; one that ends in `\\` goes on in the next."""
    text = "".join(blocks(page, "bash")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def section(page: str, heading: str) -> str:
    """What stands under `## heading`, up to the next heading of that level."""
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def change(root: Path, diff: str) -> None:
    """Makes a change: `--- FILE`, then parts between `@@`, whose old lines stand there once."""
    name, _, parts = diff.removeprefix("--- ").partition("\n")
    file = root / name
    text = file.read_text()
    for part in parts.split("@@\n"):
        lines = part.splitlines(keepends=True)
        assert {line[:1] for line in lines} <= set(" +-\n"), f"{name}: {part}"
        old = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
        new = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
        assert text.count(old) == 1, f"{name} holds this {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    file.write_text(text)


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The packages of the repository, and what a user of this copy's `trickle` sees."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> Copy:
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / package, folder / package, ignore=ignored)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        ours = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PATH": path}
        return cls(root=folder, environment={**os.environ, **ours})

    @classmethod
    def here(cls) -> Copy:
        """The repository itself, for what changes nothing."""
        return cls(root=ROOT, environment=dict(os.environ))

    def carry_out(self, part: str) -> None:
        """Copies and changes what the page's `cp`, `sed` and diffs say; runs no trickle."""
        for language, text in _BLOCK.findall(part):
            if language == "diff":
                change(self.root, text)
            elif language == "bash" and not text.startswith("trickle "):
                self.run(text)

    def run(self, command: str) -> str:
        """What it prints; it has to end with 0."""
        done = subprocess.run(
            ["bash", "-euc", _TRICKLE + command],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout
