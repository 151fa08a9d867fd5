"""Names of rows as people read them: an artifact by its folder, and its path once.

Records, table.json and table.csv keep the names that were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from eval.records import Record
from eval.specs import tuning_of
from eval.summary import Row, Table

_CUT = "…/"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Path of an artifact -> `…/` and as many of its last parts as no other one ends in.

    names: of rows, with or without a recipe of fine-tuning. Without paths that are no longer.
    """
    paths = dict.fromkeys(path for name in names if "/" in (path := _untuned(name)))
    # The repository of a model of the hub stands behind a colon.
    found = {path: path.rstrip("/").split("/") for path in paths if ":" not in path.split("/")[0]}
    shortened = {}
    for path, parts in found.items():
        for count in range(1, len(parts)):
            tail = parts[-count:]
            if sum(other[-count:] == tail for other in found.values()) == 1:
                if len(short := _CUT + "/".join(tail)) < len(path):
                    shortened[path] = short
                break
    return shortened


def short_name(name: str) -> str:
    """Of a row without a look at the others."""
    path = _untuned(name)
    return short_names([path]).get(path, path) + name[len(path) :]


def with_short_names(
    table: Table, records: Iterable[Record]
) -> tuple[Table, tuple[Record, ...], list[str]]:
    """Both with the names that `short_names` gives; lines of text: which path each is."""
    rows = [row.name for row in table.rows]
    paths = short_names(name for row in rows for name in (row.backbone, row.control or ""))

    def say(name: str | None) -> str | None:
        if name is None:
            return None
        path = _untuned(name)
        return paths.get(path, path) + name[len(path) :]

    shown = [record.model_copy(update=_said(record, say)) for record in records]
    notes = [f"{short} is {path}" for path, short in paths.items()]
    return (
        replace(table, baseline=say(table.baseline), rows=tuple(_row(r, say) for r in table.rows)),
        tuple(shown),
        notes,
    )


def _said(record: Record, say: Callable[[str | None], str | None]) -> dict[str, str | None]:
    return {"backbone": say(record.backbone), "control": say(record.control)}


def _row(row: Row, say: Callable[[str | None], str | None]) -> Row:
    backbone = say(row.name.backbone)
    assert backbone is not None, "it has a name"
    name = replace(row.name, backbone=backbone, control=say(row.name.control))
    return replace(row, name=name, compared_with=say(row.compared_with))


def _untuned(name: str) -> str:
    recipe = tuning_of(name)
    return name if recipe is None else name.removesuffix(f"~{recipe}")
