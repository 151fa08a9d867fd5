"""The tested set is pinned with hashes and complete; the types hold; exceptions are argued."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("backbones", "engine", "benchmarks", "classification", "detection", "segmentation")


def entries() -> dict[str, tuple[Requirement, list[str]]]:
    """Requirement and hashes of each entry, by canonical name."""
    lines = [line for line in LOCK.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    found = {}
    for entry in filter(None, map(str.strip, whole)):
        text, *hashes = re.split(r"\s+--hash=", entry)
        requirement = Requirement(text)
        found[canonicalize_name(requirement.name)] = (requirement, hashes)
    return found


@pytest.mark.reliability(
    13, "every package of the tested set, direct or not, is pinned to one version by sha256"
)
def test_every_entry_is_pinned_by_hash(measured: Callable[[str], None]) -> None:
    pinned = entries()
    for name, (requirement, hashes) in pinned.items():
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), name
        assert requirement.url is None, name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), name
    count = sum(len(hashes) for _, hashes in pinned.values())
    measured(f"{len(pinned)} packages, {count} files")


def test_the_lock_names_no_host() -> None:
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
    assert "--find-links" not in LOCK


def test_the_lock_holds_what_the_project_asks_for() -> None:
    pinned = entries()
    asked = [
        *PROJECT["project"]["dependencies"],
        *(need for extra in PROJECT["project"]["optional-dependencies"].values() for need in extra),
        *PROJECT["build-system"]["requires"],  # Trickle itself is built without fetching anything
    ]
    ours = PROJECT["project"]["name"]  # `dev` takes in the other extras
    for requirement in (need for need in map(Requirement, asked) if need.name != ours):
        (exact,) = pinned[canonicalize_name(requirement.name)][0].specifier
        assert requirement.specifier.contains(exact.version), requirement.name


def test_the_lock_is_closed_on_this_machine() -> None:
    """What an entry that applies here depends on is an entry: pip would refuse it otherwise."""
    pinned, environment = entries(), {**default_environment(), "extra": ""}
    missing = []
    for name, (requirement, _) in pinned.items():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            needs = requires(name) or []
        except PackageNotFoundError:  # of the tested set, and not installed here
            continue
        for need in map(Requirement, needs):
            applies = need.marker is None or need.marker.evaluate(environment)
            if applies and canonicalize_name(need.name) not in pinned:
                missing.append(f"{name} needs {need.name}")
    assert missing == []


def test_each_audit_exception_is_argued() -> None:
    """An exception without its reason is a vulnerability that nobody looks at any more."""
    makefile = (ROOT / "Makefile").read_text()
    (exceptions,) = re.findall(r"^AUDIT_EXCEPTIONS :=(.*)$", makefile, re.MULTILINE)
    argued = (ROOT / "docs/security.md").read_text()
    for name in exceptions.split():
        assert f"**{name}**" in argued, name


def test_the_vulnerable_function_of_mmdet_is_not_called() -> None:
    """CVE-2024-12044, excepted in docs/security.md because of this."""
    names = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names |= {getattr(node, "id", None), getattr(node, "attr", None)}
                names |= {node.value} if isinstance(node, ast.Constant) else set()
    assert not names & {"all_reduce_dict", "SyncNormHook", "mmdet.SyncNormHook"}


@pytest.mark.slow
@pytest.mark.reliability(13, "the types of all our packages are checked strictly")
def test_types_are_strict(measured: Callable[[str], None]) -> None:
    settings = PROJECT["tool"]["mypy"]
    assert settings["strict"] is True
    assert {*PACKAGES, "eval"} <= set(settings["packages"])
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    measured(done.stdout.strip().splitlines()[-1].removeprefix("Success: "))
