"""What a table does not hold, and why: in words for the screen, the notes and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.process import one_line
from eval.protocol_difference import in_short
from eval.records import Record, Records
from eval.selection import LeftOut, Selection
from eval.text import escape_markdown, in_one_line

_MOST_DIFFERENCES = 6
_MOST_NAMES = 6
_MOST_NOTES = 20
_LONGEST = 500


@dataclass(frozen=True, kw_only=True)
class Omission:
    """what: files or records, in a few words. why: the reason, and what differs."""

    what: str
    why: str

    @property
    def line(self) -> str:
        text = in_one_line(f"{self.what}: {self.why}")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def of_files(records: Records) -> tuple[Omission, ...]:
    """Files that are no records, and those of a cell that another file is taken for."""
    bad = [
        Omission(what=str(file.path), why=f"not a record: {one_line(file.reason)}")
        for file in records.bad
    ]
    return (*bad, *of_repeated(records))


def of_repeated(records: Records) -> tuple[Omission, ...]:
    """Results that another file of the same cell is taken for; of those that agree a count."""
    omissions = []
    copies: dict[Path, int] = {}
    for pair in records.repeated:
        if not pair.difference:
            copies[pair.other.parent] = copies.get(pair.other.parent, 0) + 1
            continue
        record = pair.record
        # How fast a machine is may well be measured on two of them.
        both = "" if record.task == "speed" else ", which cannot both be right"
        what = f"{record.backbone}, {record.task}, seed {record.seed}, two results{both}"
        why = f"{pair.difference} ({pair.taken} and {pair.other}); taken: the first finished"
        omissions.append(Omission(what=what, why=why))
    for folder, count in copies.items():
        what = f"{count} record{'s' * (count != 1)} in {folder}"
        omissions.append(Omission(what=what, why="the same cells and results as others taken"))
    return tuple(omissions)


def of_other_benchmarks(records: Records, benchmark: str) -> tuple[Omission, ...]:
    """Records of benchmarks that were not asked for."""
    counts = Counter(record.benchmark for record in records.by_key.values())
    return tuple(
        Omission(
            what=f"{count} record{'s' * (count != 1)} of benchmark {name}",
            why=f"this is the table of benchmark {benchmark}",
        )
        for name, count in sorted(counts.items())
        if name != benchmark
    )


def of_selection(selection: Selection) -> tuple[Omission, ...]:
    """Records of other conditions than the table's."""
    return tuple(
        Omission(what=_what(group), why=_why(group))
        for groups in map(_by_outcome, selection.groups)
        for group in groups
    )


def to_notes(omissions: Sequence[Omission]) -> list[str]:
    """Lines of markdown for below the table."""
    lines = [escape_markdown(f"Left out: {omission.line}.") for omission in omissions]
    more = len(lines) - _MOST_NOTES
    return lines[:_MOST_NOTES] + ([f"Left out: {more} more."] if more > 0 else [])


def _what(group: LeftOut) -> str:
    count = len(group.records)
    tasks = ", ".join(dict.fromkeys(record.task for record in group.records))
    names = _names(dict.fromkeys(record.backbone for record in group.records))
    return f"{count} record{'s' * (count != 1)} of {tasks} ({names})"


def _by_outcome(group: LeftOut) -> list[LeftOut]:
    """Of backbones that were only pretrained: those that failed apart, by what they failed of."""
    if group.reason != "untransferred":
        return [group]
    alike: dict[tuple[str, str], list[Record]] = {}
    for record in group.records:
        alike.setdefault((record.status, record.message or ""), []).append(record)
    return [replace(group, records=tuple(records)) for records in alike.values()]


def _why(group: LeftOut) -> str:
    differing = in_short(group.differences, _MOST_DIFFERENCES)
    if group.reason in ("protocol", "pretraining"):
        how = "another protocol" if group.reason == "protocol" else "pretrained otherwise"
        return f"{how}, {group.digest[:8]} (the table's: {group.instead[:8]}): {differing}"
    if group.reason == "weights":
        return f"other weights of that name than the table's: {differing or 'from elsewhere'}"
    if group.reason == "size":
        return f"another width than the table's: {differing}"
    if group.reason == "untransferred":
        if (first := group.records[0]).status != "ok":
            return f"{first.status}: {one_line(first.message or 'its message was not kept')}"
        return "only pretrained, where the table's backbones were fine-tuned"
    return "a later record of the same cell is taken"


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMES
    return ", ".join(listed[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
