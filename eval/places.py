"""The folders that a run writes to, the cache and OUT: whether it can, and what lies there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from backbones.card import ArtifactError, check_weights, read_card
from benchmarks.cache import CACHE_VARIABLE, cache_folder
from engine.locks import LEASE_SECONDS, Lock
from eval.findings import Fact, Finding, Section, amount
from eval.layout import Layout, out_of_place
from eval.records import read_records

LEAST_FREE_BYTES = 2**30
MEASURING_SECONDS = 0.5


def check_cache() -> Section:
    """Where the rendered world and what is known of checked data lie."""
    folder = cache_folder()
    elsewhere = f"let {CACHE_VARIABLE} name a folder that can be written"
    facts, findings = _writing(folder, "the cache", elsewhere)
    if folder.is_dir():
        facts["size"] = _size(folder)
    return Section(title="cache", facts=facts, findings=tuple(findings))


def check_out(out: Path) -> Section:
    """What an earlier run has left in OUT, whole and not whole."""
    layout = Layout(out)
    facts, findings = _writing(out, "--out", "give another --out, or correct its permissions")
    if not out.is_dir():
        return Section(title="out", facts=facts, findings=tuple(findings))
    findings += [
        Finding(what=f"{path} has to be {what}, and is none", fix="move or delete it")
        for path, what in out_of_place(layout)
    ]
    records = read_records(layout.records)
    by_status = [record.status for record in records.by_key.values()]
    facts |= {
        f"records_{status}": by_status.count(status) for status in ("ok", "diverged", "failed")
    }
    facts["records_bad"] = len(records.bad)
    findings += [
        Finding(
            what=f"{bad.path} is no record: {bad.reason}",
            fix="delete it, or restore it from a copy; the same `trickle run` makes it again",
        )
        for bad in records.bad
    ]
    if failed := by_status.count("failed"):
        findings.append(
            Finding(
                what=f"{failed} jobs in {out} failed",
                fix=f"read {layout.logs}; the same `trickle run` tries them again",
                level="note",
            )
        )
    artifacts = sorted(p for p in layout.artifacts.glob("*") if not p.name.startswith("."))
    facts["artifacts"] = len(artifacts)
    for artifact in artifacts:
        try:
            check_weights(artifact, read_card(artifact))
        except (ArtifactError, OSError) as error:
            fix = "delete that folder; the same `trickle run` makes it again"
            findings.append(Finding(what=str(error), fix=fix))
    saved = [path for path in layout.work.rglob("iter_*") if path.is_file()]
    damaged = [path for path in saved if path.suffix == ".damaged"]
    facts["checkpoints"] = len(saved) - len(damaged)
    facts["checkpoints_size_bytes"] = sum(path.stat().st_size for path in saved)
    findings += [
        Finding(
            what=f"{path} was set aside because its checksum did not fit",
            fix="look after that disk; the run went on from an earlier one, and the file may go",
            level="note",
        )
        for path in damaged
    ]
    return Section(title="out", facts=facts, findings=tuple(findings))


def _writing(
    folder: Path, what: str, remedy: str
) -> tuple[dict[str, Fact | list[str]], list[Finding]]:
    """Whether files and locks can be made in `folder`, and how much fits."""
    facts: dict[str, Fact | list[str]] = {"folder": str(folder), "exists": folder.is_dir()}
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    reason, flock = _try_writing(there, try_file=there == folder)
    facts["writable"] = reason is None
    if reason is not None:
        return facts, [Finding(what=f"{what} cannot be written, {folder}: {reason}", fix=remedy)]
    findings = []
    free = shutil.disk_usage(there).free
    facts["free_bytes"] = free
    if free < LEAST_FREE_BYTES:
        findings.append(
            Finding(
                what=f"{amount(free)} are free for {what}, {folder}",
                fix=f"make room for at least {amount(LEAST_FREE_BYTES)}; or {remedy}",
            )
        )
    if flock is not None:
        facts["flock"] = flock
    locks = _locks(folder)
    if locks:
        facts["locks"] = locks
    return facts, findings


def _try_writing(folder: Path, *, try_file: bool) -> tuple[str | None, bool | None]:
    """Why nothing can be written, and whether flock works; None where it was not tried."""
    if not folder.is_dir():
        return f"{folder} is not a folder", None
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} may not be written by this user", None
    if not try_file:
        return None, None
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"trickle doctor")
            file.flush()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return None, False
            return None, True
    except OSError as error:
        return error.strerror or str(error), None


def _locks(folder: Path) -> list[str]:
    """The lock files there and who holds them; looked up in the kernel's table, none is taken."""
    held = _held()
    lines = []
    for path in sorted(folder.glob("*.lock")) + sorted(folder.glob("*/*.lock")):
        try:
            is_held = path.stat().st_ino in held or _is_fresh(path.with_suffix(".lease"))
        except OSError:  # given back meanwhile
            continue
        stale = "free, left by a process that was killed; the next run takes it over"
        lines.append(f"{path.name}: {f'held by {Lock(path).holder}' if is_held else stale}")
    return lines


def _held() -> set[int]:
    """The inodes of all files of this machine that are locked by flock."""
    try:
        table = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    rows = [line.split() for line in table.splitlines()]
    return {int(row[5].rpartition(":")[2]) for row in rows if len(row) > 5 and row[1] == "FLOCK"}


def _is_fresh(lease: Path) -> bool:
    """Whether a lock without flock was touched lately: see `engine.locks`."""
    return lease.is_file() and time.time() - lease.stat().st_mtime < LEASE_SECONDS


def _size(folder: Path) -> str:
    """Of all files below, as far as it can be summed up in time."""
    total, deadline = 0, time.monotonic() + MEASURING_SECONDS
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:  # removed meanwhile
                continue
        if time.monotonic() > deadline:
            return f"more than {amount(total)}"
    return amount(total)
