"""With what something was made: versions and git revision."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

_PACKAGES = ("trickle", "torch", "torchvision", "timm", "safetensors")


@cache
def version(package: str) -> str:
    """Of an installed package; its metadata are read once in a process. Raises
    PackageNotFoundError, a kind of ImportError, for one that is not there."""
    return importlib.metadata.version(package)


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that weights depend on."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = version(package)
    return versions


def git_revision() -> str | None:
    """The commit of the running source, with "-dirty" where files differ; None outside git."""
    root = Path(__file__).resolve().parents[1]
    # Only our own repository counts, not one that the installed package happens to lie in.
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
