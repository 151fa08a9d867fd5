"""An OUT in which something is damaged or stands in the way: named at once, or made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from eval.doctor import to_text
from eval.places import check_out
from eval.records import read_records

Measured = Callable[[str], None]
ASK = ("--backbone", "resnet50d_mixup", "--tasks", "segmentation", "--out", "out")


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]: ...


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip, remove])
@pytest.mark.reliability(
    4,
    "An artifact whose weights are damaged or gone is named and made again by the next run that "
    "reads it.",
)
def test_damaged_weights_are_made_again(
    stages: Stages, damage: Callable[[Path], None], measured: Measured
) -> None:
    out = stages.folder / "out"
    assert stages.run(*ASK)[0] == 0
    (weights,) = out.glob("artifacts/resnet50d_mixup-*/model.safetensors")
    whole = weights.read_bytes()
    damage(weights)
    assert str(weights) in to_text([check_out(out)])
    before = len(stages.calls)
    assert stages.run(*ASK)[0] == 0
    assert len(stages.calls) == before  # nothing that is to do reads it
    (record,) = out.glob("records/resnet50d_mixup_segmentation_*.json")
    record.unlink()
    code, said, _ = stages.run(*ASK)
    assert code == 0
    assert f"{weights.parent} is damaged" in said
    again = [call.partition("-")[0] for call in stages.calls[before:]]
    assert again == ["pretraining", "segmentation"]
    assert weights.read_bytes() == whole
    measured("made again, and the records that were missing with it")


def test_a_folder_in_the_place_of_a_record_is_set_aside(stages: Stages) -> None:
    out = stages.folder / "out"
    assert stages.run(*ASK)[0] == 0
    (record,) = out.glob("records/resnet50d_mixup_segmentation_*.json")
    record.unlink()
    (record / "below").mkdir(parents=True)
    code, _, err = stages.run(*ASK)
    assert code == 0
    assert str(record) in err
    assert record.is_file()
    assert len(list(out.glob("records/*.damaged-*"))) == 1
    assert len(read_records(out / "records").by_key) == 3
    assert stages.run(*ASK)[2] == ""


@pytest.mark.parametrize("name", ["records", "artifacts", "work", "locks"])
def test_a_file_in_the_place_of_a_folder_stops_before_any_training(
    stages: Stages, name: str
) -> None:
    out = stages.folder / "out"
    out.mkdir()
    (out / name).write_text("")
    code, _, err = stages.run(*ASK)
    assert code == 2
    assert err == f"error: {out / name} has to be a folder, and is none: move or delete it\n"
    assert stages.calls == []
    assert f"{out / name} has to be a folder" in to_text([check_out(out)])


@pytest.mark.parametrize("name", ["table.md", "table.csv", "table.json", "left_out.txt"])
def test_a_folder_in_the_place_of_a_file_stops_before_any_training(
    stages: Stages, name: str
) -> None:
    path = stages.folder / "out" / name
    path.mkdir(parents=True)
    code, _, err = stages.run(*ASK)
    assert code == 2
    assert err == f"error: {path} has to be a file, and is none: move or delete it\n"
    assert stages.calls == []


@pytest.mark.parametrize("out", ["", "/proc/nowhere"])
def test_an_out_that_can_be_no_folder_is_wrong_usage(stages: Stages, out: str) -> None:
    code, _, err = stages.run(*ASK[:-1], out)
    assert code == 2
    assert "--out" in err
    assert "expected" in err or "give another --out" in err
    assert sorted(path.name for path in stages.folder.iterdir()) == []
