"""A measured number beside the published one, with its source and whether the protocol is the
same; on any other benchmark than the published one there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.published import Comparison, PublishedNumber, compare, load_published
from eval.records import Record


@dataclass(frozen=True, kw_only=True)
class Beside:
    """source: paper and table. verdict: whether the protocol is the same, aspect by aspect.

    brief: the same in a few words.
    """

    number: PublishedNumber
    source: str
    verdict: str
    brief: str

    @property
    def value(self) -> str:
        """In percent, as published."""
        std = self.number.std
        return f"{self.number.value:.2f}" + ("" if std is None else f" (std {std:.2f})")

    @property
    def line(self) -> str:
        note = f" ({self.number.note})" if self.number.note else ""
        return f"published: {self.value}{note}, {self.source}; protocol {self.verdict}"


def beside_published(
    benchmark: str, backbone: str, metric: str, records: Iterable[Record]
) -> tuple[Beside, ...]:
    """What was published for one cell; empty where nothing was.

    records: those of the table; the ones of this backbone say how it was measured here.
    """
    published = load_published()
    protocols = {r.task: r.protocol for r in records if r.backbone == backbone}
    found = []
    for number in published.of(benchmark, backbone, metric):
        stated = published.protocols[number.protocol]
        told = [("", compare(stated, protocols[stated.task]))] if stated.task in protocols else []
        if stated.task != "classification":  # the weights that it started from count as well
            for first in published.of(benchmark, backbone, "top1")[:1]:
                if "classification" in protocols:
                    trained = published.protocols[first.protocol]
                    compared = compare(trained, protocols["classification"])
                    told.append(("pretraining's ", compared))
        found.append(
            Beside(
                number=number,
                source=f"{published.sources[number.source]}, {number.where}",
                verdict=_verdict(told),
                brief=_brief(told),
            )
        )
    return tuple(found)


def _verdict(told: list[tuple[str, Comparison]]) -> str:
    def all_of(kind: str) -> list[str]:
        return [f"{of}{text}" for of, comparison in told for text in getattr(comparison, kind)]

    if not told:
        return "not known: no record of it"
    differs, not_stated = all_of("differs"), all_of("not_stated")
    same, not_compared = all_of("same"), all_of("not_compared")
    if differs:
        parts = [f"differs: {'; '.join(differs)}"]
    else:
        parts = [f"same in {', '.join(same)}"] if same else []
    if not_stated:
        parts.append(f"not stated: {', '.join(not_stated)}")
    if not_compared:
        parts.append(f"not compared: {', '.join(not_compared)}")
    return "; ".join(parts) or "not stated"


def _brief(told: list[tuple[str, Comparison]]) -> str:
    if not told:
        return "not known"
    differs = [f"{of}{text.partition(':')[0]}" for of, c in told for text in c.differs]
    if differs:
        more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
        return f"differs: {', '.join(differs[:3])}{more}"
    if not any(comparison.same for _, comparison in told):
        return "not stated"
    return "same where stated" if any(c.not_stated for _, c in told) else "same"
