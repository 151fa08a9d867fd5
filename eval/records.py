"""Records: one immutable JSON file for each (backbone weights, task, protocol, seed)."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backbones.checksum import read_checked_json, write_checked_json
from classification.identity import safe_name
from engine.locks import exclusive
from engine.results import Metric, Value
from eval.jobs import Task

Status = Literal["ok", "diverged", "failed"]
TaskName = Literal["classification", Task]

SCHEMA: Literal[1] = 1
"""Counts up when the fields of a record change."""

_LARGEST_RECORD_BYTES = 16 * 2**20
_LARGEST_NUMBER = 1e18  # far beyond any FLOP or byte count; sums over seeds stay finite
_LONGEST_NAME = 4096  # as the longest path: a weights file is part of a name

_Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
_Cost = Annotated[float, Field(ge=0, le=_LARGEST_NUMBER, strict=True)]


class Record(BaseModel):
    """One cell of a table, and all that is needed to say where it came from.

    key: sha256 over backbone, task, protocol and seed, 16 digits. lineage: sha256 over the
    backbone alone, the same for all its seeds. control: the same network from random weights;
    None for a control. protocol: everything that moves the number. weights_sha256: of the weights
    that the task started from (for "classification": ended with). message: why a cell failed.
    environment: machine and versions, "command" that asked for it and "finished" (UTC). notes:
    what a reader of the number should know. evidence_sha256: names the file under OUT/evidence/
    that says what the task saw image by image (see `engine.evidence`).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    key: str = Field(pattern=r"^[0-9a-f]{16}$")
    lineage: str = Field(pattern=r"^[0-9a-f]{16}$")
    backbone: _Name
    control: _Name | None = None
    tricks: tuple[_Name, ...] = ()
    task: TaskName
    benchmark: _Name
    protocol: dict[str, Any]
    seed: int = Field(ge=0, lt=2**31, strict=True)
    status: Status
    message: str | None = None
    metrics: dict[_Name, Metric] = {}
    per_class: dict[_Name, dict[_Name, Value]] = {}
    cost: dict[_Name, _Cost] = {}
    weights_sha256: str | None = None
    evidence_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    environment: dict[str, str] = {}
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _status_fits(self) -> Record:
        if self.status == "ok" and not self.metrics:
            raise ValueError("a record with status ok has metrics")
        if self.status == "failed" and not self.message:
            raise ValueError("a failed record says why in message")
        for name, metric in self.metrics.items():
            if metric.value is not None and abs(metric.value) > _LARGEST_NUMBER:
                raise ValueError(f"metric {name!r} is {metric.value:g}: too large to be one")
        canonical(self.protocol)  # which is compared, and could hold NaN
        return self

    @property
    def file_name(self) -> str:
        return f"{safe_name(self.backbone)}_{self.task}_s{self.seed}_{self.key}.json"

    @property
    def is_final(self) -> bool:
        """ok and diverged are results; failed is tried again."""
        return self.status != "failed"

    @property
    def finished(self) -> str:
        """ISO 8601 in UTC, so that the order of the strings is that of the times."""
        return self.environment.get("finished", "")


@dataclass(frozen=True, kw_only=True)
class BadRecord:
    """A file under records/ that is no record, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Two files of one cell. record: that of `taken`.

    difference: what their results differ in, the one taken first; empty where in nothing.
    """

    taken: Path
    other: Path
    record: Record
    difference: str


@dataclass(frozen=True, kw_only=True)
class Records:
    """What lies under OUT/records: by key, and the files that were left out.

    paths: of the file that each key's record is from.
    """

    by_key: dict[str, Record]
    bad: tuple[BadRecord, ...] = ()
    repeated: tuple[Repeated, ...] = ()
    paths: dict[str, Path] = field(default_factory=dict)

    def final(self, key: str) -> Record | None:
        """The record of this key if it is a result."""
        record = self.by_key.get(key)
        return record if record is not None and record.is_final else None


def read_record(path: Path) -> Record:
    """Raises ValueError saying what is wrong with the file, OSError where it cannot be read."""
    if not path.is_file():
        raise ValueError("not a regular file")
    if (size := path.stat().st_size) > _LARGEST_RECORD_BYTES:
        raise ValueError(f"{size} bytes are too many for a record")
    content = read_checked_json(path)
    if (schema := content.get("schema")) != SCHEMA:
        raise ValueError(_other_schema(schema))
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        raise ValueError(_explained(error)) from error
    if record.key not in path.name:
        raise ValueError(f"its key is {record.key}, which its name does not hold")
    return record


def _other_schema(schema: object) -> str:
    if schema is None:
        return f"it says no schema; this Trickle reads {SCHEMA}"
    newer = isinstance(schema, int) and schema > SCHEMA
    hint = ": update Trickle" if newer else ""
    return f"schema {str(schema)[:20]}, this Trickle reads {SCHEMA}{hint}"


def _explained(error: ValidationError) -> str:
    """The first thing that is wrong, in words; of fields that are not known, all names."""
    problems = error.errors()
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    if unknown and len(unknown) == len(problems):
        names = ", ".join(".".join(map(str, place)) for place in unknown)
        return f"fields that this Trickle does not know ({names}): update it, if it is older"
    first = next(problem for problem in problems if problem["type"] != "extra_forbidden")
    where = ".".join(map(str, first["loc"]))
    if where == "task" and isinstance(first["input"], str):
        known = ", ".join(get_args(TaskName))
        return f"task {first['input']}, this Trickle knows {known}: update it, if it is older"
    return f"{where}: {first['msg']}" if where else first["msg"]


def read_records(*folders: Path) -> Records:
    """All records of one or more folders; a file that is none is named in `bad`.

    Two results of one cell cannot both stand: the first finished is taken, the other one named in
    `repeated`.
    """
    found: dict[str, list[tuple[Path, Record]]] = {}
    bad: list[BadRecord] = []
    for path in (path for folder in folders for path in _candidates(folder)):
        try:
            record = read_record(path)
        except (ValueError, OSError) as error:
            bad.append(BadRecord(path=path, reason=str(error)))
            continue
        found.setdefault(record.key, []).append((path, record))
    by_key: dict[str, Record] = {}
    paths: dict[str, Path] = {}
    repeated: list[Repeated] = []
    for key, files in found.items():
        taken, record = min(files, key=lambda file: _preference(file[1]))
        by_key[key], paths[key] = record, taken
        repeated += [
            Repeated(taken=taken, other=path, record=record, difference=_difference(record, other))
            for path, other in files
            if path != taken and other.is_final
        ]
    return Records(by_key=by_key, bad=tuple(bad), repeated=tuple(repeated), paths=paths)


def _candidates(folder: Path) -> list[Path]:
    """Without the temporary files of writers that were killed."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [path for path in files if not path.name.startswith(".")]


def _difference(first: Record, second: Record) -> str:
    """What two results of one cell do not agree in; time and machine may differ."""
    differing = []
    if first.status != second.status:
        differing.append(f"{first.status} and {second.status}")
    for name in sorted({*first.metrics, *second.metrics}):
        values = [_value_of(record, name) for record in (first, second)]
        if values[0] != values[1]:
            differing.append(f"{name} {values[0]} and {values[1]}")
    if not differing and first.per_class != second.per_class:
        differing.append("other values of single classes")
    if not differing and first.weights_sha256 != second.weights_sha256:
        weights = [str(record.weights_sha256)[:12] for record in (first, second)]
        differing.append(f"weights {weights[0]} and {weights[1]}")
    return ", ".join(differing)


def _value_of(record: Record, name: str) -> str:
    metric = record.metrics.get(name)
    return "none" if metric is None or metric.value is None else f"{metric.value:.10g}"


def write_record(folder: Path, record: Record) -> Record:
    """Writes a record whole or not at all; gives the one that then stands under its key.

    A result that is already there stays as it is: records do not change. A failed one is replaced.
    """
    # Another run could write between our look and our writing.
    with exclusive(folder / ".writing.lock"):
        for path in _files_of(folder, record.key):
            try:
                present = read_record(path)
            except (ValueError, OSError):
                if path.name == record.file_name and path.is_dir():  # no file can replace it
                    path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
                continue
            if present.is_final:
                return present
            if path.name != record.file_name:
                path.unlink()
        write_checked_json(folder / record.file_name, record.model_dump(mode="json"))
    return record


def find_final(folder: Path, key: str) -> Record | None:
    """The result under this key, as it is on the disk now; None where there is none."""
    found = []
    for path in _files_of(folder, key):
        with suppress(ValueError, OSError):
            found.append(read_record(path))
    results = [record for record in found if record.is_final and record.key == key]
    return min(results, key=_preference) if results else None


def _files_of(folder: Path, key: str) -> list[Path]:
    return [path for path in folder.glob(f"*{key}.json") if not path.name.startswith(".")]


def canonical(value: Any) -> str:
    """One text for one JSON value: sorted keys, no spaces. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _preference(record: Record) -> tuple[bool, str]:
    """Results before failures, and of these the first."""
    return not record.is_final, record.finished
