"""The installed versions beside the tested set, which requirements.lock names."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from eval.findings import Fact, Finding, Section

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
TESTED_PYTHONS = ((3, 11), (3, 13))
SHOWN = (
    "trickle",
    "torch",
    "torchvision",
    "mmengine",
    "mmcv-lite",
    "mmdet",
    "mmsegmentation",
    "timm",
    "numpy",
    "opencv-python",
    "pillow",
    "safetensors",
    "setuptools",
)
_REINSTALL = "make the environment anew (`make clean run`)"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def read_lock(lock: Path) -> dict[str, str]:
    """Version by canonical name; empty where the lock file is not beside the packages."""
    if not lock.is_file():
        return {}
    pins = _PIN.findall(lock.read_text(encoding="utf-8"))
    return {canonicalize_name(name): number for name, number in pins}


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_versions(lock: Path = LOCK) -> Section:
    """Wrong: a package that is missing or that our metadata exclude; a note: one not tested."""
    tested, ranges = read_lock(lock), _declared()
    facts: dict[str, Fact | list[str]] = {"python": platform.python_version()}
    findings: list[Finding] = []
    oldest, newest = TESTED_PYTHONS
    if not oldest <= sys.version_info[:2] <= newest:
        findings.append(
            Finding(
                what=f"Python {platform.python_version()} was never tested with Trickle",
                fix="use one of Python {}.{} to {}.{}".format(*oldest, *newest),
                level="note",
            )
        )
    for name in SHOWN:
        found = installed(name)
        facts[name] = found
        findings += _judge(name, found, tested.get(name), ranges.get(name))
    if not tested:
        findings.append(
            Finding(
                what=f"the tested set is not known: there is no {lock}",
                fix="run from a checkout to compare with it",
                level="note",
            )
        )
    return Section(title="versions", facts=facts, findings=tuple(findings))


def _judge(
    name: str, found: str | None, tested: str | None, allowed: Requirement | None
) -> list[Finding]:
    if found is None:
        if name == "trickle":  # run from a checkout, which need not be installed
            return []
        if name == "opencv-python" and installed("opencv-python-headless") is not None:
            return []
        return [Finding(what=f"{name} is not installed", fix=_REINSTALL)]
    if allowed is not None and not allowed.specifier.contains(found, prereleases=True):
        what = f"{name} {found} is installed, and Trickle needs {name}{allowed.specifier}"
        return [Finding(what=what, fix=_REINSTALL)]
    if tested is not None and Version(found).public != tested:
        what = f"{name} {found} is installed; {tested} is what was tested"
        fix = f"where something fails, {_REINSTALL}"
        return [Finding(what=what, fix=fix, level="note")]
    return []


def _declared() -> dict[str, Requirement]:
    """What our installed metadata ask for, without extras."""
    try:
        texts = requires("trickle") or []
    except PackageNotFoundError:
        return {}
    parsed = [Requirement(text) for text in texts]
    return {canonicalize_name(r.name): r for r in parsed if r.marker is None}
