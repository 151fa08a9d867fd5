"""A CSV file of labelled images: `path,label`, and where wanted `split` and `group`.

One image a row, in any order of columns; other columns are not read. Paths are relative to the
file's own folder, or absolute. `split` is train or test (val and validation mean test too), and
train where it is left out. `group` names what must not be torn apart, such as a patient.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.dataset_files import read_data, require_plain_names
from benchmarks.errors import DataError

Split = Literal["train", "test"]

MOST_CSV_BYTES = 2**30
SHOWN_ROWS = 10
_REQUIRED = ("path", "label")
_COLUMNS = (*_REQUIRED, "split", "group")
_SPLITS: dict[str, Split] = {
    "train": "train",
    "test": "test",
    "val": "test",
    "validation": "test",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFile:
    """An image and its label. image: path below the data's folder, with `/`. line: of the CSV
    file, counted from 1; 0 where a folder is the label."""

    image: str
    label: str
    split: Split
    group: str | None = None
    line: int = 0


def read_csv(file: Path) -> tuple[LabelledFile, ...]:
    """The rows of `file`, whether or not the images are there.

    Raises DataError: no such file, not CSV in UTF-8, a column is missing, a value is missing or
    unknown, or an image is in several rows, behind links too; each with its line.
    """
    rows = csv.reader(_open(file), strict=True)
    try:
        header = next(rows, [])
        columns = _columns(file, header)
        folder = os.path.realpath(file.parent)
        read = []
        for row in rows:
            if any(row[len(header) :]):
                raise DataError(
                    f"{file}, line {rows.line_num}: {len(row)} values, and the header names "
                    f"{len(header)} columns; put a value that holds a comma into double quotes"
                )
            if any(row):
                read.append(_row(file, folder, rows.line_num, columns, row))
    except csv.Error as error:
        raise DataError(f"{file}, line {rows.line_num}: not CSV: {error}") from error
    if not read:
        raise DataError(f"{file} has no images: below its header stands no row")
    require_plain_names((f.image for f in read), file)
    require_plain_names((f.label for f in read), file)
    _refuse_repeated(file, read)
    return tuple(read)


def unread_columns(file: Path) -> tuple[str, ...]:
    """The names of the columns that nothing reads."""
    header = next(csv.reader(_open(file)), [])
    return tuple(name.strip() for name in header if name.strip().lower() not in _COLUMNS)


def listed_rows(lines: Iterable[str]) -> str:
    """The first ten, and how many more there are; for the end of a sentence."""
    every = list(lines)
    more = f"; and {len(every) - SHOWN_ROWS} more" if len(every) > SHOWN_ROWS else ""
    return "; ".join(every[:SHOWN_ROWS]) + more


def _open(file: Path) -> io.StringIO:
    content = read_data(file, most_bytes=MOST_CSV_BYTES)
    try:
        text = content.decode("utf-8-sig")  # with the mark that Excel puts first, or without
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error}; save it as CSV in UTF-8") from error
    return io.StringIO(text, newline="")  # csv tells line ends of rows from those within quotes


def _columns(file: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    if missing := [name for name in _REQUIRED if name not in names]:
        separated = " (values are separated by commas, not by semicolons or tabs)"
        hint = separated if len(names) == 1 and any(c in names[0] for c in ";\t") else ""
        raise DataError(
            f"{file} has no column {' and no column '.join(missing)}: its first line is "
            f"{','.join(header)[:100]!r}, expected a header such as path,label,split,group, of "
            f"which split and group may be left out{hint}"
        )
    for name in _COLUMNS:
        if names.count(name) > 1:
            raise DataError(f"{file} has {names.count(name)} columns {name}; leave one of them")
    return {name: names.index(name) for name in _COLUMNS if name in names}


def _row(
    file: Path, folder: str, line: int, columns: dict[str, int], row: list[str]
) -> LabelledFile:
    """folder: the file's own, without links: the way up from a link is not the way it is named."""
    values = {name: row[at].strip() if at < len(row) else "" for name, at in columns.items()}
    for name in columns:
        if not values[name]:
            raise DataError(f"{file}, line {line}: no {name}; every row needs one")
    split = _SPLITS.get(values.get("split", "train").lower())
    if split is None:
        raise DataError(
            f"{file}, line {line}: split {values['split']!r}; expected train or test (val and "
            "validation mean test)"
        )
    image = os.path.normpath(values["path"])
    if image.startswith(("/", "..")):  # one image has one name, however it is written
        image = os.path.relpath(os.path.join(folder, image), folder)
    return LabelledFile(
        image=image, label=values["label"], split=split, group=values.get("group"), line=line
    )


def _refuse_repeated(file: Path, rows: Iterable[LabelledFile]) -> None:
    first: dict[str, LabelledFile] = {}
    folders: dict[str, str] = {}
    real = ((_real(file.parent, r.image, folders), r) for r in rows)
    repeated = [(first[path], r) for path, r in real if first.setdefault(path, r) is not r]
    if not repeated:
        return
    raise DataError(
        f"{file}: {len(repeated)} rows name an image again, and an image stands in one row: "
        f"{listed_rows(_explained(repeated))}; leave one row of each"
    )


def _real(root: Path, image: str, folders: dict[str, str]) -> str:
    """What `image` is behind all links. folders: those that were asked for before."""
    folder, name = os.path.split(image)
    if folder not in folders:
        folders[folder] = os.path.realpath(root / folder)
    path = os.path.join(folders[folder], name)
    return os.path.realpath(path) if os.path.islink(path) else path


def _explained(repeated: Iterable[tuple[LabelledFile, LabelledFile]]) -> Iterator[str]:
    for was, now in repeated:
        what = "twice"
        if was.label != now.label:
            what = f"as {was.label} and as {now.label}"
        elif was.split != now.split:
            what = "in train and in test"
        link = "" if was.image == now.image else f", behind links the same as {now.image},"
        yield f"{was.image}{link} {what} (lines {was.line} and {now.line})"
