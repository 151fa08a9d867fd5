"""Which of all records belong into one table, and which do not, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from classification.recipes import FINE_TUNINGS
from eval.jobs import TASKS, TRANSFERS
from eval.protocol_difference import differences, protocol_digest
from eval.recording import as_planned
from eval.records import Record, TaskName, canonical
from eval.specs import PLAIN, compared_with, tuning_of, weights_of
from eval.summary import RowName

Reason = Literal["protocol", "pretraining", "weights", "size", "untransferred", "later"]

_COMPARED: dict[TaskName, frozenset[str]] = {
    "classification": frozenset({"architecture", "recipe"}),
    "finetune": frozenset({"recipe"}),
}
"""Of a protocol: what the rows of a table are there to compare."""
_UNLABELLED = "unlabelled"
"""In the protocol of a fine-tuning that learns from unlabelled images: their digest."""
_PLAIN_RECIPE = canonical(FINE_TUNINGS[PLAIN].canonical())
_SHORTEST_DIGEST = 4
_SIZE = "backbone_parameters"
"""In a record's cost; the same for all weights of an architecture and width."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Records that stay out of the table together.

    reason: "protocol", their task was done otherwise; "pretraining", their backbones were trained
    under other conditions than the table's; "weights", the table holds other weights of that name;
    "size", their networks are wider or narrower than the table's; "untransferred", nothing but
    pretrained, where others were fine-tuned; "later", the table holds a later record of the same
    cell. digest: of what differs; instead: of the table's. differences: `key.path: theirs -> the
    table's`.
    """

    records: tuple[Record, ...]
    reason: Reason
    digest: str = ""
    instead: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """kept: at most one record for each (backbone, task, seed). groups: what is left out."""

    kept: tuple[Record, ...]
    groups: tuple[LeftOut, ...]
    rows: tuple[RowName, ...]
    seeds: tuple[int, ...]
    tasks: tuple[TaskName, ...]

    @property
    def left_out(self) -> tuple[Record, ...]:
        return tuple(sorted((r for group in self.groups for r in group.records), key=_age))


def select_comparable(records: Iterable[Record], protocols: Sequence[str] = ()) -> Selection:
    """Records that may stand in one table.

    Of each task but pretraining the protocol of the newest result counts (another image size or
    data set is another question); then of each backbone the weights that were fine-tuned last (a
    changed pretraining makes other ones); then the conditions of the newest pretraining, which all
    rows share but for architecture and recipe; then controls as large as the rows above them.
    Where anything was fine-tuned, backbones that were only pretrained, as a teacher, make no row.

    protocols: beginnings of digests as `LeftOut` gives them, which count instead of the newest.
    Raises ValueError where one is that of no protocol, or of several.
    """
    everything = sorted(records, key=_age)
    protocol_of = _with_unlabelled(everything, protocols)
    digest_of = {r.key: protocol_digest(r.task, protocol_of[r.key]) for r in everything}
    chosen = _chosen(everything, digest_of, protocols)
    groups: list[LeftOut] = []

    def without_others(records: list[Record], task: TaskName) -> list[Record]:
        """Those of the task's one protocol; of pretraining, with all that was made from it."""
        of_task = [record for record in records if record.task == task]
        if not of_task:
            return records
        ours = _newest(of_task)
        if task in chosen:
            wanted = [r for r in of_task if digest_of[r.key] == chosen[task]]
            if not wanted:
                raise ValueError(
                    f"--protocol {chosen[task][:8]}: none of its records fits the other protocols "
                    "that are asked for; give fewer of them"
                )
            ours = wanted[0]
        digest = digest_of[ours.key]
        others: dict[str, list[Record]] = {}
        pretrained = {r.lineage: digest_of[r.key] for r in of_task}
        for record in records:
            if task == "classification":
                found = pretrained.get(record.lineage, digest)
            else:
                found = digest_of[record.key] if record.task == task else digest
            if found != digest:
                others.setdefault(found, []).append(record)
        reason: Reason = "pretraining" if task == "classification" else "protocol"
        for found, out in others.items():
            example = next(record for record in out if record.task == task)
            differing = differences(protocol_of[example.key], protocol_of[ours.key])
            groups.append(_group(out, reason, found, digest, differing))
        gone = {record.key for out in others.values() for record in out}
        return [record for record in records if record.key not in gone]

    remaining = everything
    if "classification" in chosen:
        remaining = without_others(remaining, "classification")
    for task in TASKS:
        remaining = without_others(remaining, task)
    controls = [record for record in remaining if record.control is None]
    remaining, older = _one_lineage_each([r for r in remaining if r.control is not None])
    groups += older
    if any(record.task in TRANSFERS for record in (*remaining, *controls)):
        asked = [record for record in remaining if record.task != "classification"]
        # The pretraining of rows that a recipe of fine-tuning names says what conditions they have.
        used = {record.lineage for record in asked}
        if idle := [record for record in remaining if record.lineage not in used]:
            groups.append(_group(idle, "untransferred"))
        remaining = [record for record in remaining if record.lineage in used]
        remaining = without_others(remaining, "classification")
        rows = {record.backbone for record in asked}
        remaining = [record for record in remaining if record.backbone in rows]
    else:
        remaining = without_others(remaining, "classification")
    # Before one of several controls is taken: the newest need not be the one that fits.
    remaining, others = _one_size_each(sorted([*remaining, *controls], key=_age))
    remaining, older = _one_lineage_each(remaining)
    groups += [*others, *older]
    cells = {(record.backbone, record.task, record.seed): record for record in remaining}
    kept = tuple(cells.values())
    keys = {record.key for record in kept}
    if replaced := [record for record in remaining if record.key not in keys]:
        groups.append(_group(replaced, "later"))
    return Selection(
        kept=kept,
        groups=tuple(groups),
        rows=_rows(kept),
        seeds=tuple(sorted({record.seed for record in kept})),
        tasks=tuple(task for task in TASKS if any(record.task == task for record in kept)),
    )


def conditions(record: Record) -> dict[str, Any]:
    """The part of a protocol that all rows of a table share."""
    planned = as_planned(record.protocol)
    compared = _COMPARED.get(record.task, frozenset[str]())
    return {key: value for key, value in planned.items() if key not in compared}


def _with_unlabelled(
    records: Sequence[Record], protocols: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The conditions by record key. What does not learn from the unlabelled images does not record
    them, and stands beside what does: it gets those of the newest result that is otherwise alike,
    or of a protocol that is asked for.
    """
    conditions_of = {record.key: conditions(record) for record in records}

    def counts(record: Record) -> tuple[bool, bool]:
        digest = protocol_digest(record.task, conditions_of[record.key])
        return any(digest.startswith(text.lower()) for text in protocols), record.is_final

    newest: dict[str, Any] = {}
    learning = [record for record in records if _UNLABELLED in conditions_of[record.key]]
    for record in sorted(learning, key=counts):  # and the oldest first
        found = conditions_of[record.key]
        newest[_without_unlabelled(found)] = found[_UNLABELLED]
    if not newest:
        return conditions_of
    return {
        key: {_UNLABELLED: newest[alike], **found}
        if (alike := _without_unlabelled(found)) in newest
        else found
        for key, found in conditions_of.items()
    }


def _without_unlabelled(found: Mapping[str, Any]) -> str:
    return canonical({key: value for key, value in found.items() if key != _UNLABELLED})


def _chosen(
    records: Sequence[Record], digest_of: Mapping[str, str], beginnings: Sequence[str]
) -> dict[TaskName, str]:
    """The digest that the user wants of a task."""
    known = {digest_of[record.key]: record.task for record in records}
    chosen: dict[TaskName, str] = {}
    for text in beginnings:
        found = [digest for digest in known if digest.startswith(text.lower())]
        if len(text) < _SHORTEST_DIGEST or len(found) != 1:
            have = "; ".join(f"{digest[:8]} ({task})" for digest, task in known.items())
            what = "several protocols" if len(found) > 1 else "no protocol"
            if len(text) < _SHORTEST_DIGEST:
                what = f"fewer than {_SHORTEST_DIGEST} digits"
            raise ValueError(f"--protocol {text}: {what}; there are {have}")
        task = known[found[0]]
        if chosen.setdefault(task, found[0]) != found[0]:
            raise ValueError(
                f"--protocol {text}: a second protocol of {task}, after {chosen[task][:8]}; a "
                "table holds one of each task"
            )
    return chosen


def _one_lineage_each(records: Sequence[Record]) -> tuple[list[Record], list[LeftOut]]:
    """Of each backbone the records of one set of weights: those of its newest fine-tuning, so that
    a pretraining or a measurement which came later takes no number away."""
    best: dict[str, tuple[int, str]] = {}
    for record in records:
        rank = (1 + record.is_final) * (record.task in TRANSFERS)
        weights = weights_of(record.backbone)  # which all recipes of fine-tuning share
        if rank >= best.get(weights, (0, ""))[0]:  # later ones come later
            best[weights] = (rank, record.lineage)
    older: dict[tuple[str, str], list[Record]] = {}
    kept = []
    pretrained = {}
    for record in records:
        if record.task == "classification":
            pretrained[record.lineage] = as_planned(record.protocol)
        if record.lineage == best[weights_of(record.backbone)][1]:
            kept.append(record)
        else:
            older.setdefault((record.backbone, record.lineage), []).append(record)
    groups = []
    for (backbone, lineage), out in older.items():
        instead = best[weights_of(backbone)][1]
        differing: tuple[str, ...] = ()
        if lineage in pretrained and instead in pretrained:
            differing = differences(pretrained[lineage], pretrained[instead])
        groups.append(_group(out, "weights", lineage, instead, differing))
    return kept, groups


def _one_size_each(records: Sequence[Record]) -> tuple[list[Record], list[LeftOut]]:
    """Of each control and the rows that share it those of one width, which no protocol of a
    fine-tuning says: the same architecture of another width has another number of parameters.

    The size that counts is that of what was pretrained, else of the newest row, else of the newest
    control. A record whose size is not known stays.
    """
    size_of = {r.lineage: r.cost[_SIZE] for r in records if _SIZE in r.cost}
    counting: dict[str, tuple[bool, bool, str, float]] = {}
    for record in records:
        if (size := size_of.get(record.lineage)) is not None:
            control = weights_of(record.control or record.backbone)
            pretrained = record.task == "classification"
            found = (pretrained, record.control is not None, record.finished, size)
            counting[control] = max(found, counting.get(control, found))
    kept: list[Record] = []
    others: dict[tuple[str, float], list[Record]] = {}
    for record in records:
        control = weights_of(record.control or record.backbone)
        size = size_of.get(record.lineage)
        if size is None or size == counting[control][-1]:
            kept.append(record)
        else:
            others.setdefault((control, size), []).append(record)
    return kept, [
        _group(out, "size", differing=(f"{_SIZE}: {size:,.0f} -> {counting[control][-1]:,.0f}",))
        for (control, size), out in others.items()
    ]


def _group(
    records: Sequence[Record],
    reason: Reason,
    digest: str = "",
    instead: str = "",
    differing: tuple[str, ...] = (),
) -> LeftOut:
    return LeftOut(
        records=tuple(records),
        reason=reason,
        digest=digest,
        instead=instead,
        differences=differing,
    )


def _newest(records: Sequence[Record]) -> Record:
    """The last that is a result: what only failed has measured nothing."""
    return next((record for record in reversed(records) if record.is_final), records[-1])


def _age(record: Record) -> tuple[str, str]:
    return record.finished, record.key


def _is_plain(record: Record) -> bool:
    """A plain fine-tuning, whatever its row is named: a benchmark's recipe, another path."""
    recipe = record.protocol.get("recipe") if record.task == "finetune" else None
    return recipe is not None and canonical(recipe) == _PLAIN_RECIPE


def _rows(records: Sequence[Record]) -> tuple[RowName, ...]:
    """Those with fewer tricks first, then in the order of their first records; each control below
    its own. So the first row, to which the report's sections compare, is the plainest recipe."""
    rows_there = {record.backbone for record in records}
    plain = {r.lineage: r.backbone for r in records if _is_plain(r)}

    def reference(record: Record) -> str | None:
        """Its name, or that of another row with the same content; else the recorded control."""
        named = compared_with(record.backbone, record.control)
        if named is None or named in rows_there:
            return named
        found = plain.get(record.lineage) if tuning_of(record.backbone) else None
        if found is not None and found != record.backbone:
            return found
        return record.control if record.control in rows_there else named

    names = {
        record.backbone: RowName(
            backbone=record.backbone, control=reference(record), tricks=record.tricks
        )
        for record in records
    }
    rows: dict[str, RowName] = {}
    for control in dict.fromkeys(row.control or row.backbone for row in names.values()):
        own = [row for row in names.values() if row.control == control]
        rows |= {row.backbone: row for row in sorted(own, key=lambda row: len(row.tricks))}
        if control in names:
            rows[control] = names[control]
    return tuple(rows.values())
