"""One's own images: three layouts read alike, bad input refused by name, no leak of test images."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.dataset_files import StageData
from benchmarks.errors import DataError
from benchmarks.labelled_images import LabelledImages, read_labelled
from benchmarks.labelled_stage import stage_data
from benchmarks.schema import FineTuneBudget
from benchmarks.unlabelled_images import find_unlabelled, read_unlabelled

Check = Callable[[StageData], tuple[str, ...]]


def write_images(folder: Path, *names: str) -> None:
    """A small image each, no two of the same content."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(str(path).encode()))
        assert cv2.imwrite(str(path), rng.integers(0, 256, (6, 6, 3), np.uint8))


def write_csv(folder: Path, *lines: str, name: str = "photos.csv") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def budget(root: Path, **more: Any) -> FineTuneBudget:
    return FineTuneBudget(root=root, **more)


def named(root: Path, images: LabelledImages | None) -> list[tuple[str, str]]:
    """(path below the root, class) of each."""
    assert images is not None
    return [(p.relative_to(root).as_posix(), images.classes[label]) for p, label in images.samples]


def test_the_three_layouts_give_the_same_images_and_labels(tmp_path: Path) -> None:
    train = ("cat/1.png", "cat/2.jpg", "dog/1.png", "emu/1.jpeg", "emu/7.PNG")
    write_images(tmp_path / "flat", *train)
    write_images(tmp_path / "split", *(f"train/{name}" for name in train), "val/dog/1.png")
    rows = [f"flat/{name},{name.split('/')[0]},train" for name in reversed(train)]
    write_csv(tmp_path, "path,label,split", *rows, "split/val/dog/1.png,dog,val")
    expected = [(name, name.split("/")[0]) for name in train]

    flat = budget(tmp_path / "flat")
    assert named(flat.root, read_labelled(flat, "train")) == expected
    assert read_labelled(flat, "test") is None
    split = budget(tmp_path / "split")
    assert named(split.root / "train", read_labelled(split, "train")) == expected
    assert named(split.root / "val", read_labelled(split, "test")) == [("dog/1.png", "dog")]
    csv = budget(tmp_path / "photos.csv")
    assert named(tmp_path / "flat", read_labelled(csv, "train")) == expected
    assert named(tmp_path / "split/val", read_labelled(csv, "test")) == [("dog/1.png", "dog")]
    for each in (flat, split, csv):
        images = read_labelled(each, "train")
        assert images is not None
        assert (images.classes, images.groups) == (("cat", "dog", "emu"), None)


def test_a_csv_in_a_folder_behind_a_link_finds_images_by_absolute_and_by_climbing_paths(
    tmp_path: Path,
) -> None:
    """`link/..` is the folder above what the link leads to."""
    write_images(tmp_path / "photos", "cat.png", "dog.png")
    write_csv(
        tmp_path / "far" / "away" / "out",
        "path,label",
        f"{tmp_path}/photos/cat.png,cat",
        "../../../photos/dog.png,dog",
    )
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away" / "out")
    found = read_labelled(budget(tmp_path / "link" / "photos.csv"), "train")
    assert found is not None
    assert all(path.is_file() for path, _ in found.samples)
    assert [path.resolve().name for path, _ in found.samples] == ["cat.png", "dog.png"]


def test_a_csv_may_have_other_columns_quotes_a_mark_of_excel_and_groups(
    tmp_path: Path, check: Check
) -> None:
    write_images(tmp_path, "a\u2028b.png", "c.png", "d.png")
    rows = 'Label , age,path,group\r\ncat,"3\n",a\u2028b.png,ann\r\n\r\n'
    rows += f"dog,4,{tmp_path}/c.png,bob\r\n"
    file = tmp_path / "photos.CSV"
    file.write_bytes(
        b"\xef\xbb\xbf"
        + rows.encode()
        + b'"dog",4,"../%s/d.png",ann,,\r\n' % tmp_path.name.encode()
    )
    images = read_labelled(budget(file), "train")
    assert images is not None
    assert named(tmp_path, images) == [("a\u2028b.png", "cat"), ("c.png", "dog"), ("d.png", "dog")]
    assert images.groups == ("ann", "bob", "ann")
    assert check(stage_data(budget(file))) == (f"{file}: columns age are not read",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,label", "1.png,cat"], "has no column path: its first line is 'image,label', exp"),
        (["1.png,cat", "2.png,dog"], "has no column path and no column label"),
        (["path;label", "1.png;cat"], "separated by commas, not by semicolons"),
        (["path,label,path", "1.png,cat,2.png"], "has 2 columns path; leave one"),
        (["path,label"], "has no images: below its header stands no row"),
        ([], "has no column path and no column label"),
        (["path,label", "1.png,cat", "2.png,"], "line 3: no label"),
        (["path,label,group", "1.png,cat,a", "2.png,dog"], "line 3: no group"),
        (["path,label,split", "1.png,cat,tset"], r"line 2: split 'tset'; expected train or test"),
        (
            ["path,label", "1.png,cat", "a, b.png,dog"],
            "line 3: 3 values, and the header names 2 col",
        ),
        (["path,label", '"1.png,cat'], "line 2: not CSV: unexpected end of data"),
        (["path,label", "1.png,cat", "2.png,cat"], r"has 1 class \(cat\), at least 2"),
        (
            ["path,label", "1.png,cat", "2.png,cat", "x/../1.png,dog"],
            r"1 rows name an image again.*: 1.png as cat and as dog \(lines 2 and 4\)",
        ),
        (
            ["path,label,split", "1.png,cat,train", "2.png,dog,train", "1.png,cat,val"],
            r"1.png in train and in test \(lines 2 and 4\)",
        ),
        (["path,label", "1.png,cat", "1.png,cat"], r"1.png twice \(lines 2 and 3\); leave one"),
        (
            ["path,label,split", "1.png,cat,train", "2.png,dog,train", "3.png,emu,test"],
            "no training image of emu, of which there are test images",
        ),
    ],
)
def test_a_wrong_csv_is_refused_with_its_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    file = write_csv(tmp_path, *lines)
    with pytest.raises(DataError, match=message) as caught:
        read_labelled(budget(file), "train")
    assert str(file) in str(caught.value)


def test_missing_files_of_a_csv_are_counted_and_ten_are_named_with_their_lines(
    tmp_path: Path,
) -> None:
    from benchmarks.schema import Benchmark
    from benchmarks.validation import validate

    write_images(tmp_path, "c.png", "d.png")
    gone = [f"gone{n:02},cat" for n in range(12)]
    file = write_csv(tmp_path, "path,label", "c.png,cat", "d.png,dog", *gone)
    own = Benchmark(name="own", finetune=budget(file))
    with pytest.raises(DataError, match="finetune data of benchmark own: 12 files") as caught:
        validate(own)
    said = str(caught.value)
    assert re.findall(r"photos.csv, line (\d+): \S+/gone", said) == [str(n) for n in range(4, 14)]
    assert "and 2 more" in said
    found = validate(own, tolerate=12)["finetune"]
    assert own.finetune is not None
    left = own.model_copy(update={"finetune": own.finetune.leaving_out(found.left_out)})
    assert left.finetune is not None
    images = read_labelled(left.finetune, "train")
    assert named(tmp_path, images) == [("c.png", "cat"), ("d.png", "dog")]


@pytest.mark.parametrize(
    ("names", "removed", "message"),
    [
        ([], None, "no folder .*photos; it should hold train/<class>"),
        (["cat/1.png"], None, "has 1 class folder, at least 2 are needed; expected train/<class>"),
        (["cat/1.png", "dog/1.png"], "dog/1.png", r"dog holds no images; expected .* <class>/\*"),
        (["val/cat/1.png", "val/dog/1.png"], None, "has a folder val and no folder train"),
        (
            ["train/cat/1.png", "train/dog/1.png", "test/cat/2.png"],
            None,
            "test would not be read: the test images lie in val.*rename it",
        ),
        (
            ["train/cat/1.png", "train/dog/1.png", "val/1.png"],
            None,
            "val has 0 class folders, at least 1 is needed; .*; remove val/ if there are no test",
        ),
        (
            ["train/cat/1.png", "train/dog/1.png", "val/emu/2.png", "val/gnu/2.png"],
            None,
            "no training image of emu; gnu, of which there are test images",
        ),
    ],
)
def test_wrong_folders_are_refused(
    tmp_path: Path, names: list[str], removed: str | None, message: str
) -> None:
    root = tmp_path / "photos"
    write_images(root, *names)
    if removed is not None:
        (root / removed).unlink()
    with pytest.raises(DataError, match=message):
        read_labelled(budget(root), "train")


def test_a_class_without_test_images_is_said_and_one_without_a_usable_training_image_refused(
    tmp_path: Path, check: Check
) -> None:
    write_images(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/dog/2.png", "val/dog/1.png")
    data = stage_data(budget(tmp_path))
    assert check(data) == ("no test image of cat",)
    (tmp_path / "train/cat/1.png").write_bytes(b"")
    from benchmarks.validation import conclude, inspect_all

    problems: dict[str, str] = {}
    with pytest.raises(DataError, match="no usable training image of cat is left in"):
        conclude(data, inspect_all(data, problems), problems)
    assert list(problems) == ["train/cat/1.png"]


def test_images_in_a_folder_inside_that_of_a_class_are_not_silently_left_out(
    tmp_path: Path, check: Check
) -> None:
    write_images(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/.trash/old/3.png")
    assert check(stage_data(budget(tmp_path))) == ()
    write_images(
        tmp_path, "train/cat/more/2.png", "train/cat/more/3.jpg", "train/cat/.thumbs/4.png"
    )
    inside = "are not read: move them up, or name them in a CSV file"
    assert check(stage_data(budget(tmp_path))) == (
        f"2 images in 1 folder inside train/cat/ {inside}",
    )
    before = stage_data(budget(tmp_path)).question
    write_images(tmp_path, "train/dog/a/b/4.png")
    data = stage_data(budget(tmp_path))
    assert check(data) == (
        f"3 images in 2 folders inside class folders: train/cat/more; train/dog/a/b {inside}",
    )
    assert data.question != before  # what was found before is not taken for an answer


def test_groups_with_training_and_test_images_are_said(tmp_path: Path, check: Check) -> None:
    write_images(tmp_path, "1.png", "2.png", "3.png", "4.png")
    rows = ["1.png,cat,train,ann", "2.png,dog,train,bob", "3.png,cat,test,bob", "4.png,dog,test,x"]
    file = write_csv(tmp_path, "path,label,split,group", *rows)
    assert check(stage_data(budget(file))) == ("1 groups have training and test images: bob",)


def test_how_a_csv_is_written_does_not_change_the_digest_and_what_it_says_does(
    tmp_path: Path,
) -> None:
    from benchmarks.digest import dataset_digest

    write_images(tmp_path, "1.png", "2.png", "3.png")
    rows = ["1.png,cat,train,a", "2.png,dog,train,b", "3.png,dog,test,c"]
    file = tmp_path / "photos.csv"

    def digest(text: str) -> str:
        file.write_text(text)
        return dataset_digest(stage_data(budget(file)).files)

    plain = "\n".join(["path,label,split,group", *rows])
    same = [
        plain,
        plain + "\n\n",
        plain.replace("1.png,cat", '"1.png", cat').replace("\n", "\r\n"),
        "\n".join(["path,label,split,group,age", *(f"{row},7" for row in reversed(rows))]),
    ]
    assert len({digest(text) for text in same}) == 1
    changed = [
        plain.replace(was, now)
        for was, now in (
            ("1.png,cat", "1.png,cow"),
            ("train,b", "train,a"),
            ("2.png,dog,train", "2.png,dog,test"),
        )
    ]
    changed[2] = changed[2].replace("3.png,dog,test", "3.png,dog,train")
    assert len({digest(text) for text in [plain, *changed]}) == 4


def test_one_photograph_behind_two_names_is_refused_or_said(tmp_path: Path, check: Check) -> None:
    write_images(tmp_path, "real/1.png", "2.png", "3.png")
    (tmp_path / "other").symlink_to(tmp_path / "real")
    (tmp_path / "link.png").symlink_to(tmp_path / "real/1.png")
    for name in ("link.png", "other/1.png"):
        file = write_csv(tmp_path, "path,label", "real/1.png,cat", "2.png,dog", f"{name},dog")
        with pytest.raises(DataError, match=rf"same as {name}, as cat and as dog \(lines 2 and 4"):
            read_labelled(budget(file), "train")
    shutil.copy(tmp_path / "2.png", tmp_path / "copy.png")
    rows = ["real/1.png,cat,train", "2.png,dog,train", "3.png,cat,test", "copy.png,dog,test"]
    file = write_csv(tmp_path, "path,label,split", *rows)
    assert check(stage_data(budget(file))) == (
        "1 training images are test images too, byte by byte: 2.png",
    )


def unlabelled(folder: Path) -> FineTuneBudget:
    """Two classes of two images, one of them for the test; two unlabelled ones below `more`."""
    write_images(folder, "own/train/cat/1.png", "own/train/dog/1.png", "own/val/cat/1.png")
    write_images(folder, "more/1.png", "more/deep/er/2.jpg", "more/.hidden/3.png")
    (folder / "more/notes.txt").write_text("no image")
    return budget(folder / "own", unlabelled=folder / "more")


def test_unlabelled_images_are_found_in_all_subfolders(tmp_path: Path) -> None:
    own = unlabelled(tmp_path)
    expected = (tmp_path / "more/1.png", tmp_path / "more/deep/er/2.jpg")
    assert read_unlabelled(own) == expected
    assert find_unlabelled(own).notes() == ()
    assert read_unlabelled(own.model_copy(update={"unlabelled": None})) == ()


def test_labelled_and_test_images_never_are_unlabelled_ones_under_whatever_name(
    tmp_path: Path,
) -> None:
    own = unlabelled(tmp_path)
    more = tmp_path / "more"
    shutil.copy(own.root / "val/cat/1.png", more / "copy.png")
    os.link(own.root / "val/cat/1.png", more / "hard.png")
    (more / "link.png").symlink_to(own.root / "train/dog/1.png")
    same_size = bytearray((own.root / "train/dog/1.png").read_bytes())
    same_size[-20] ^= 1  # within the pixels: another image of as many bytes
    (more / "other.png").write_bytes(same_size)
    (more / "broken.png").write_bytes(b"")
    found = find_unlabelled(own)
    assert [path.name for path in found.paths] == ["1.png", "2.jpg", "other.png"]
    assert (found.tests, found.labelled, found.unusable) == (2, 1, 1)
    assert found.notes() == (
        "2 of the unlabelled images are test images: left out",
        "1 of the unlabelled images are labelled training images: left out",
        "1 of the unlabelled images cannot be read: left out",
    )
    nothing_new = own.model_copy(update={"unlabelled": own.root})
    said = r"holds no unlabelled image \(1 of the unlabelled images are test images: left out, 2 of"
    with pytest.raises(DataError, match=said):
        read_unlabelled(nothing_new)


def test_an_unlabelled_folder_that_is_not_there_or_empty_is_refused(
    tmp_path: Path, check: Check
) -> None:
    own = unlabelled(tmp_path)
    (tmp_path / "empty").mkdir()
    empty = own.model_copy(update={"unlabelled": tmp_path / "empty"})
    with pytest.raises(DataError, match=r"empty holds no unlabelled image \(no file there ends in"):
        read_unlabelled(empty)
    # A recipe that does not learn from them runs, and is told.
    assert [line for line in check(stage_data(empty)) if "no unlabelled image" in line]
    gone = own.model_copy(update={"unlabelled": tmp_path / "gone"})
    with pytest.raises(
        DataError, match=r"no folder .*gone; `unlabelled` of .finetune. should name"
    ):
        stage_data(gone)


@pytest.mark.real_data
def test_imagenette_is_read_as_the_file_system_has_it(real_data: Path) -> None:
    root = real_data / "imagenette"
    classes = tuple(sorted(os.listdir(root / "train")))
    for split, folder in (("train", "train"), ("test", "val")):
        images = read_labelled(budget(root), split)  # type: ignore[arg-type]
        assert images is not None
        there = {p: p.parent.name for p in (root / folder).glob("*/*.JPEG")}
        assert {path: images.classes[label] for path, label in images.samples} == there
        assert images.classes == classes
    overlapping = budget(root, unlabelled=root / "val")
    with pytest.raises(DataError, match="600 of the unlabelled images are test images"):
        read_unlabelled(overlapping)
