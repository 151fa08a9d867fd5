"""The report's section of what is not in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from eval.image_bootstrap import ImageBootstrap
from eval.omissions import Omission
from eval.records import Record
from eval.sections.left_out import section
from eval.sections.material import Material
from eval.sections.section import Grid, Section
from eval.selection import select_comparable
from eval.summary import make_table

Make = Callable[..., Record]


def made(
    records: list[Record],
    omissions: tuple[Omission, ...] = (),
    origins: Mapping[str, Path] | None = None,
) -> Section:
    selection = select_comparable(records)
    table = make_table(
        selection.kept,
        benchmark="mini",
        rows=selection.rows,
        seeds=selection.seeds,
        tasks=selection.tasks,
    )
    material = Material(
        table=table,
        records=selection.kept,
        evidence=lambda record: None,
        omissions=omissions,
        origins=origins or {},
    )
    return section(material)


def lines(grid: object) -> list[tuple[str, ...]]:
    assert isinstance(grid, Grid)
    return [tuple(cell.text for cell in row) for row in grid.rows]


def test_nothing_left_out_is_said(make_record: Make) -> None:
    whole = made([make_record(), make_record("scratch:resnet50d")])
    assert whole.blocks == ()
    assert whole.lead.startswith("Everything that was read stands in the table")


def test_what_was_left_out_stands_with_its_reason(make_record: Make) -> None:
    found = made([make_record()], (Omission(what="a/b.json", why="cut off"),))
    (grid,) = found.blocks
    assert lines(grid) == [("a/b.json", "cut off")]
    assert found.lead.startswith("Left out: 1 file")


def test_of_several_directories_each_record_says_its_own(make_record: Make) -> None:
    records = [make_record(seed=seed) for seed in (2, 0, 1)]
    records.append(make_record("scratch:resnet50d", seed=0))
    folders = (Path("/bob"), Path("/ann"), Path("/bob"), Path("/ann"))
    origins = {r.key: folder for r, folder in zip(records, folders, strict=True)}
    assert lines(made(records, origins=origins).blocks[-1]) == [
        ("/ann", "resnet50d_mixup, detection: seed 0"),
        ("/ann", "scratch:resnet50d, detection: seed 0"),
        ("/bob", "resnet50d_mixup, detection: seeds 1, 2"),
    ]


def test_cells_without_a_number_are_named(make_record: Make) -> None:
    (grid,) = made(
        [
            make_record(seed=0),
            make_record(seed=1, status="diverged", metrics={}),
            make_record("scratch:resnet50d", seed=0, metrics={"AP50": 3.0}),
            make_record(task="segmentation", seed=0, metrics={"mIoU": 30.0, "aAcc": None}),
        ]
    ).blocks
    assert set(lines(grid)) == {
        ("resnet50d_mixup", "detection, seed 1: diverged: the loss is no number any more"),
        ("resnet50d_mixup", "segmentation, seed 0: its record holds no aAcc"),
        ("resnet50d_mixup", "segmentation: no record of seed 1"),
        ("scratch:resnet50d", "detection: no record of seed 1"),
        ("scratch:resnet50d", "detection, seed 0: its record holds no mAP"),
        ("scratch:resnet50d", "segmentation: no record of seeds 0, 1"),
    }


def test_very_many_are_cut_and_counted(make_record: Make) -> None:
    many = tuple(Omission(what=str(number), why="x") for number in range(1000))
    (grid,) = made([make_record()], many).blocks
    assert len(lines(grid)) == 200
    assert isinstance(grid, Grid)
    assert grid.notes == ("800 more are not shown.",)


def test_pairs_that_were_drawn_for_after_the_notes_are_said_here(make_record: Make) -> None:
    selection = select_comparable([make_record()])
    table = make_table(selection.kept, benchmark="mini", rows=selection.rows, seeds=selection.seeds,
                       tasks=selection.tasks)  # fmt: skip
    bootstrap = ImageBootstrap(lambda record: None, images=1)
    bootstrap.problems = {"a and b, detection": "other images", "c": "in the notes"}
    found = section(
        Material(
            table=replace(table, remarks=("c: in the notes",)),
            records=selection.kept,
            evidence=lambda record: None,
            bootstrap=bootstrap,
        )
    )
    assert found.left_out == ("By image: a and b, detection: other images.",)
