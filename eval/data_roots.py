"""Whether the data of a benchmark is where its file says; a look at folders, not at images."""

from __future__ import annotations

import os
import re
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import DataError
from benchmarks.manifest import read_manifest
from benchmarks.missing_data import elsewhere, missing_data
from benchmarks.packaged import PACKAGED
from benchmarks.prepare import world_folder
from benchmarks.schema import Benchmark, benchmark_file, load_benchmark
from eval.findings import Fact, Finding, Section

COUNTING_SECONDS = 0.2  # for each folder: listing ImageNet takes longer
_VARIABLE = re.compile(r"\$\{?(\w+)")


@dataclass(frozen=True, kw_only=True)
class FolderState:
    """text: "there, 24 files", "missing", ...; usable: whether there is anything to read.

    counted: whether all files were, which takes too long where there are very many.
    """

    text: str
    usable: bool
    counted: bool = True


def check_data(name: str, *, asked: bool) -> Section:
    """The roots of the benchmark `name`, a packaged one or a file.

    asked: the user means this one, so that missing data is wrong; of the others it is a fact.
    """
    title = f"benchmark {name}"
    try:
        benchmark = load_benchmark(name)
        variables = _variables(benchmark_file(name))
    except (ValueError, OSError) as error:
        fix = "correct what it names, or set that variable; `trickle run` would end here too"
        findings = [Finding(what=str(error), fix=fix)] if asked else []
        return Section(title=title, facts={"state": str(error)}, findings=tuple(findings))
    if benchmark.world is not None:
        return Section(title=title, facts=_rendered(benchmark))
    facts: dict[str, Fact | list[str]] = {}
    findings = []
    for stage in benchmark.stages:
        root: Path = getattr(benchmark, stage).root
        state, named = folder_state(root), variables.get(stage, [])
        said = [f"{root}: {state.text}", *(f"set by {name}" for name in named)]
        if state.usable:
            known = "validated or not: not looked up"
            try:
                if state.counted:
                    known = _validated(stage, root)
            except DataError as error:
                known = str(error)
                fix = f"restore it; or accept the data as it is by `trickle validate {name}`"
                findings += [Finding(what=known, fix=fix)] if asked else []
            said.append(known)
        facts[stage] = "; ".join(said)
        if asked and not state.usable:
            file = benchmark_file(name)
            change = f"let {named[0]} name another folder" if named else "change its root"
            fix = f"put it there, or {change} (as {file} has it)"
            if lines := missing_data(benchmark, stages=(stage,)):
                other = elsewhere(benchmark) if benchmark.name in PACKAGED else f"Or {change}"
                fix = f"{lines[0]}. {other} (as {file} has it)"
            findings.append(
                Finding(
                    what=f"the {stage} data of benchmark {name} is {state.text}: {root}",
                    fix=fix,
                )
            )
    if (own := benchmark.finetune) is not None and own.unlabelled is not None:
        state = folder_state(own.unlabelled)
        facts["unlabelled"] = f"{own.unlabelled}: {state.text}"
        if asked and not state.usable:
            what = f"the unlabelled images of benchmark {name} are {state.text}: {own.unlabelled}"
            fix = "put them there; or change unlabelled of [finetune], or leave it out"
            findings.append(Finding(what=what, fix=f"{fix} (as {benchmark_file(name)} has it)"))
    return Section(title=title, facts=facts, findings=tuple(findings))


def loaded(name: str) -> Benchmark | None:
    """The benchmark, or None where `check_data` says why it cannot be read."""
    try:
        return load_benchmark(name)
    except (ValueError, OSError):
        return None


def folder_state(folder: Path, *, seconds: float = COUNTING_SECONDS) -> FolderState:
    """Counts files for at most `seconds`."""
    if not folder.exists():
        return FolderState(text="missing", usable=False)
    if folder.is_file() and folder.suffix.lower() == ".csv":
        return FolderState(text="there", usable=os.access(folder, os.R_OK))
    if not folder.is_dir():
        return FolderState(text="not a folder", usable=False)
    if not os.access(folder, os.R_OK | os.X_OK):
        return FolderState(text="not readable", usable=False)
    count, deadline = 0, time.monotonic() + seconds
    for names in _names(folder):
        count += len(names)
        if time.monotonic() > deadline:
            text = f"there, more than {count} files"
            return FolderState(text=text, usable=True, counted=False)
    if count == 0:
        return FolderState(text="empty", usable=False)
    return FolderState(text=f"there, {count} files", usable=True)


def _names(folder: Path) -> Iterator[list[str]]:
    for _, _, names in os.walk(folder):
        yield names


def _rendered(benchmark: Benchmark) -> dict[str, Fact | list[str]]:
    folder = world_folder(benchmark)
    state = folder_state(folder)
    if state.text == "missing":
        return {"data": f"not rendered yet; the first run writes {folder}"}
    return {"data": f"{folder}: {state.text}"}


def _validated(stage: str, root: Path) -> str:
    manifest = read_manifest(stage, root)
    if manifest is None:
        return "never validated in full (`trickle validate`)"
    return f"validated on {manifest.read_on}, {len(manifest.files)} files"


def _variables(file: Path) -> dict[str, list[str]]:
    """The environment variables in each stage's root."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        stage: _VARIABLE.findall(str(table["root"]))
        for stage, table in tables.items()
        if isinstance(table, dict) and "root" in table
    }
