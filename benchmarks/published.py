"""Published numbers, each with its source and what is stated of how it was measured.

They belong to one benchmark, whose data and schedule are theirs; beside the numbers of any other
they would say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Aspect(_Facts):
    """One thing that moves a number.

    stated: in the source's words; None where it says nothing. same, differs: by the path of a key
    in a record's protocol, values that are the stated ones, and values that are not. note: what is
    known from elsewhere, such as the authors' scripts.
    """

    name: str
    stated: str | None
    same: dict[str, list[JsonValue]] = {}
    differs: dict[str, list[JsonValue]] = {}
    note: str = ""


class StatedProtocol(_Facts):
    """What a source says of how a task was done."""

    task: str
    aspects: tuple[Aspect, ...]


class PublishedNumber(_Facts):
    """One number. value, std: in percent. source: key of `sources`; where: its table and row."""

    backbone: str
    metric: str
    value: float
    std: float | None = None
    source: str
    where: str
    protocol: str
    note: str | None = None


class Neighbour(_Facts):
    """What another program gives for another backbone under a protocol that is near."""

    what: str
    values: tuple[float, ...]
    source: str


class Published(_Facts):
    """benchmark: the only one beside whose cells the numbers may stand."""

    benchmark: str
    sources: dict[str, str]
    protocols: dict[str, StatedProtocol]
    numbers: tuple[PublishedNumber, ...]
    neighbours: tuple[Neighbour, ...]

    @model_validator(mode="after")
    def _names_are_known(self) -> Published:
        for number in self.numbers:
            if number.source not in self.sources or number.protocol not in self.protocols:
                raise ValueError(f"{number.backbone}, {number.metric}: unknown source or protocol")
        return self

    def of(self, benchmark: str, backbone: str, metric: str) -> tuple[PublishedNumber, ...]:
        """None for another benchmark; several where a source gives several."""
        if benchmark != self.benchmark:
            return ()
        return tuple(n for n in self.numbers if (n.backbone, n.metric) == (backbone, metric))


class Comparison(_Facts):
    """A measured protocol beside a stated one.

    same, differs: of the aspects that can be compared. not_stated: by the source. not_compared:
    stated, and not to be told from a record.
    """

    same: tuple[str, ...]
    differs: tuple[str, ...]
    not_stated: tuple[str, ...]
    not_compared: tuple[str, ...]


@cache
def load_published() -> Published:
    """The numbers that come with Trickle."""
    text = (files("benchmarks") / "published.json").read_text(encoding="utf-8")
    return Published.model_validate(json.loads(text))


def compare(stated: StatedProtocol, protocol: Mapping[str, Any]) -> Comparison:
    """protocol: of a record of the same task."""
    told: dict[str, list[str]] = {"same": [], "differs": [], "not_stated": [], "not_compared": []}
    for aspect in stated.aspects:
        if aspect.stated is None:
            note = f" ({aspect.note})" if aspect.note else ""
            told["not_stated"].append(f"{aspect.name}{note}")
            continue
        right = {path: _at(protocol, path) for path in aspect.same}
        wrong = {path: _at(protocol, path) for path in aspect.differs}
        differing = [f"{p} = {_shown(v)}" for p, v in right.items() if v not in aspect.same[p]]
        differing += [f"{p} = {_shown(v)}" for p, v in wrong.items() if v in aspect.differs[p]]
        if differing:
            told["differs"].append(f"{aspect.name}: {aspect.stated}; here {', '.join(differing)}")
        else:
            told["same" if aspect.same else "not_compared"].append(aspect.name)
    return Comparison(**{name: tuple(texts) for name, texts in told.items()})


def _at(protocol: Mapping[str, Any], path: str) -> Any:
    """None where there is no such key: what a record does not say is not the same."""
    value: Any = protocol
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _shown(value: Any) -> str:
    text = "not said" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]} …"
