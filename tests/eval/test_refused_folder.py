"""`trickle finetune FOLDER` where it is refused: what it names, and that nothing is left behind."""

from __future__ import annotations

import csv
import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import cv2
import numpy as np
import pytest

from benchmarks.errors import DataError
from benchmarks.labelled_files import of_other_formats
from benchmarks.labelled_images import read_labelled
from benchmarks.schema import FineTuneBudget, load_benchmark
from benchmarks.unlabelled_images import find_unlabelled
from eval import cli
from eval.layout import make_writable, require_makable
from eval.own_benchmark import own_benchmark
from eval.own_data import OwnData

NETWORK = ("--backbone", "scratch:resnet18d", "--recipe", "linear")


class Stages(Protocol):
    folder: Path
    calls: list[str]
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch


def photos(root: Path, count: int = 10, classes: str = "ab") -> Path:
    """`<root>/<class>/<n>.png`, so many of each class."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            image = np.full((32, 32, 3), index * 7, np.uint8)
            assert cv2.imwrite(str(root / name / f"{index}.png"), image)
    return root


def finetune(stages: Stages, *arguments: str) -> tuple[int, str, str]:
    stages.capture.readouterr()
    code = cli.main(["finetune", *arguments, *NETWORK])
    return (code, *stages.capture.readouterr())


def list_of(images: list[str], to: Path, *, grouped: bool = False) -> Path:
    """A CSV file of images in folders that bear their labels; two neighbours are a group."""
    rows = [
        f"{image},{Path(image).parent.name}{f',g{at // 2}' if grouped else ''}"
        for at, image in enumerate(images)
    ]
    to.write_text("\n".join([f"path,label{',group' * grouped}", *rows]) + "\n")
    return to


def names(count: int = 10, before: str = "") -> list[str]:
    return [f"{before}{name}/{index}.png" for name in "ab" for index in range(count)]


def listed(out: Path) -> list[str]:
    with (out / "images.csv").open(newline="") as lines:
        return [row["path"] for row in csv.DictReader(lines)]


def test_a_list_is_named_by_its_own_lines_and_runs_once_it_is_mended(stages: Stages) -> None:
    photos(stages.folder / "all")
    good = names(before="all/")
    file = list_of([*good, "all/a/gone.png", "all/b/gone.png"], stages.folder / "mine.csv")
    for more in ([], ["--dry-run"]):
        code, _, err = finetune(stages, "mine.csv", *more)
        assert code == 2
        assert "2 files cannot be used" in err
        for line, name in ((22, "a"), (23, "b")):
            assert f"{file}, line {line}: {stages.folder}/all/{name}/gone.png is listed" in err
        assert err.index("line 22") < err.index("line 23")
        assert "images.csv" not in err
        assert not (stages.folder / "runs").exists()
    code, out, err = finetune(stages, "mine.csv", "--dry-run", "--tolerate", "2")
    assert code == 0, err
    assert f"left out, {file}, line 22: {stages.folder}/all/a/gone.png is listed" in out
    assert "15 to learn from, 5 test images" in out  # of 22 a fifth, rounded up, are set aside
    list_of(good, file)
    code, _, err = finetune(stages, "mine.csv")
    assert code == 0, err


def test_a_refused_folder_does_not_decide_what_a_later_call_may_ask(stages: Stages) -> None:
    photos(stages.folder / "dirty", 12)
    for name in ("3", "4"):
        (stages.folder / "dirty" / "a" / f"{name}.png").write_bytes(b"")
    code, _, err = finetune(stages, "dirty")
    assert code == 2
    assert f"{stages.folder}/dirty/a/3.png is empty" in err
    assert not (stages.folder / "runs").exists()
    code, _, err = finetune(stages, "dirty", "--folds", "3", "--tolerate", "2")
    assert code == 0, err
    # What cannot be used stays in the list: once it is repaired it may be learnt from.
    assert len(listed(stages.folder / "runs" / "dirty")) == 24


@pytest.mark.parametrize("raised", [DataError("no"), KeyboardInterrupt(), OSError(errno.EIO, "no")])
def test_whatever_refuses_the_data_leaves_out_as_it_was(
    stages: Stages, raised: BaseException
) -> None:
    photos(stages.folder / "pets")
    kept = stages.folder / "out" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("")

    def refuse(*_: object, **__: object) -> None:
        assert (kept.parent / "benchmark.toml").is_file()
        raise raised

    with stages.patch.context() as patch:
        prepare = SimpleNamespace(ensure_ready=refuse, find_ready=refuse)
        patch.setitem(sys.modules, "benchmarks.prepare", prepare)
        code, _, _ = finetune(stages, "pets", "--out", "out")
        assert code == {DataError: 2, KeyboardInterrupt: 130, OSError: 1}[type(raised)]
    assert list(kept.parent.iterdir()) == [kept]


def test_a_list_that_was_kept_without_its_benchmark_is_taken_by_a_dry_run_too(
    stages: Stages,
) -> None:
    photos(stages.folder / "pets")
    asked = ("pets", "--backbone", "scratch:resnet18d", "--recipe", "linear")
    assert finetune(stages, *asked)[0] == 0
    (stages.folder / "runs" / "pets" / "benchmark.toml").unlink()
    code, out, err = finetune(stages, *asked, "--dry-run")
    assert code == 0, err
    assert "images.csv is taken as it is" in out


def test_a_row_that_is_refused_leaves_nothing(stages: Stages) -> None:
    photos(stages.folder / "pets")
    asked = ["finetune", "pets", "--out", "new/out", "--backbone", "scratch:resnet18d"]
    code = cli.main([*asked, "--recipe", "linear+pseudo_labels"])
    assert code == 2
    assert "unlabelled" in stages.capture.readouterr().err
    assert not (stages.folder / "new").exists()


def test_what_a_run_has_begun_with_stays_when_a_later_call_is_refused(stages: Stages) -> None:
    data = photos(stages.folder / "pets")
    assert finetune(stages, "pets")[0] == 0
    out = stages.folder / "runs" / "pets"
    file = out / "benchmark.toml"
    file.write_text(file.read_text().replace("epoch_scale = 1.0", "epoch_scale = 0.5"))
    before = [(out / name).read_bytes() for name in ("benchmark.toml", "images.csv")]
    (data / "a" / "0.png").write_bytes(b"")
    code, _, err = finetune(stages, "pets", "--folds", "3")
    assert code == 2
    assert "says nothing of it" in err
    assert [(out / name).read_bytes() for name in ("benchmark.toml", "images.csv")] == before
    assert finetune(stages, "pets", "--dry-run")[0] == 0


def test_a_class_without_a_usable_image_is_refused_however_many_are_tolerated(
    tmp_path: Path,
) -> None:
    data = photos(tmp_path / "data", 4)
    for file in (data / "b").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=rf"no usable training image of b is left in {data}\n"):
        own_benchmark(
            OwnData(data=data), tmp_path / "out", write_to=tmp_path / "out", gpu=False, tolerate=9
        )
    assert not (tmp_path / "out").exists()


def test_paths_are_plain_wherever_the_data_was_named_from(tmp_path: Path) -> None:
    photos(tmp_path / "data" / "photos")
    (tmp_path / "proj").mkdir()
    out = tmp_path / "out"
    own = OwnData(data=tmp_path / "proj" / ".." / "data" / "photos").plain()
    assert own.data == tmp_path / "data" / "photos"
    images = [*names(5, "../data/photos/"), str(tmp_path / "proj/../data/photos/a/7.png")]
    file = list_of(images, tmp_path / "proj" / "mine.csv")
    own_benchmark(OwnData(data=file), out, write_to=out, gpu=False)
    rows = listed(out)
    assert len(rows) == 11
    assert all(Path(row).is_file() and ".." not in row for row in rows)
    assert all(row.startswith(f"{tmp_path}/data/photos/") for row in rows)


def test_a_link_before_dots_leads_where_the_system_says(tmp_path: Path) -> None:
    photos(tmp_path / "far" / "photos", 1)
    (tmp_path / "far" / "proj").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "proj")
    assert OwnData(data=tmp_path / "near/../photos").plain().data == tmp_path / "far" / "photos"
    assert OwnData(data=tmp_path / "near/../photos/..").name == "far"


def test_a_file_that_was_written_with_dots_is_of_the_same_images(tmp_path: Path) -> None:
    data, out = photos(tmp_path / "data"), tmp_path / "out"
    dotted = OwnData(data=tmp_path / "out" / ".." / "data")
    (tmp_path / "out").mkdir()
    (out / "benchmark.toml").write_text(f'name = "d"\n[finetune]\nroot = "{dotted.data}"\n')
    found = own_benchmark(OwnData(data=data), out, write_to=out, gpu=False)
    assert "As " in found.said[-1]
    assert found.written == ()


def test_images_of_other_formats_are_counted_and_other_files_are_not(tmp_path: Path) -> None:
    data = photos(tmp_path / "data")
    for name in ("x.webp", "y.TIFF", "anim.gif"):
        (data / "a" / name).write_bytes(b"x")
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", "._x.webp"):
        (data / "b" / name).write_bytes(b"x")
    more = tmp_path / "more"
    more.mkdir()
    (more / "1.heic").write_bytes(b"x")
    out = tmp_path / "out"
    for own in (OwnData(data=data, unlabelled=more), OwnData(data=data)):  # new, then as it is
        found = own_benchmark(own, out, write_to=out, gpu=False)
        three = "3 files are not JPEG or PNG (.gif, .tiff, .webp) and are not used"
        assert f"{data}: {three}" in found.said
        one = f"{more}: 1 file is not JPEG or PNG (.heic) and is not used"
        assert (one in found.said) == (own.unlabelled is not None)
    assert of_other_formats(data / "b") == ""
    with pytest.raises(DataError, match=r"holds no unlabelled image \(1 file is not JPEG or PNG"):
        find_unlabelled(FineTuneBudget(root=data, unlabelled=more))


def test_only_folders_that_are_read_are_searched_for_other_formats(tmp_path: Path) -> None:
    data = tmp_path / "data"
    photos(data / "train")
    photos(data / "test", 2)
    (data / "raw").mkdir()
    (data / "raw" / "1.cr2").write_bytes(b"x")
    (data / "test" / "a" / "1.bmp").write_bytes(b"x")
    out = tmp_path / "out"
    found = own_benchmark(OwnData(data=data), out, write_to=out, gpu=False)
    assert f"{data}: 1 file is not JPEG or PNG (.bmp) and is not used" in found.said


def test_a_class_of_other_formats_alone_is_refused_by_their_name(tmp_path: Path) -> None:
    data = photos(tmp_path / "data", 3)
    (data / "c").mkdir()
    with pytest.raises(DataError, match=rf"{data}/c holds no images; expected"):
        read_labelled(FineTuneBudget(root=data), "train")
    for name in ("1.webp", "2.webp"):
        (data / "c" / name).write_bytes(b"x")
    said = rf"{data}/c holds no images: 2 files are not JPEG or PNG \(\.webp\).*convert"
    with pytest.raises(DataError, match=said):
        read_labelled(FineTuneBudget(root=data), "train")


def test_groups_that_stay_whole_are_said_to(tmp_path: Path) -> None:
    photos(tmp_path / "all", 12)
    images = names(12, "all/")
    for grouped in (False, True):
        file = list_of(images, tmp_path / f"{grouped}.csv", grouped=grouped)
        out = tmp_path / f"out{grouped}"
        said = "\n".join(own_benchmark(OwnData(data=file), out, write_to=out, gpu=False).said)
        assert ("groups kept whole" in said) == grouped
        assert "of each class" in said
        assert load_benchmark(out / "benchmark.toml").finetune is not None


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_an_out_that_cannot_be_made_is_wrong_usage(stages: Stages, more: list[str]) -> None:
    photos(stages.folder / "pets")
    (stages.folder / "file").write_text("")
    for out, why in (("/proc/nope/x", "No such file"), ("file/x", "Not a directory")):
        code, _, err = finetune(stages, "pets", "--out", out, *more)
        assert code == 2
        assert err.startswith(f"error: --out {Path(out).absolute()} cannot be made: {why}")
    assert stages.calls == []


def test_whether_an_out_can_be_made_is_seen_without_making_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_makable(tmp_path / "a" / "b")
    require_makable(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.mkdir", full)  # no matter of the choice of OUT
    for check in (require_makable, make_writable):
        with pytest.raises(OSError, match="No space left") as caught:
            check(tmp_path / "a" / "b")
        assert caught.value.errno == errno.ENOSPC
