"""Every file read once: counted, compared, and kept, so that no byte changes unnoticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import DataError
from benchmarks.full_validation import StageReport, validate_fully
from benchmarks.manifest import read_manifest
from benchmarks.prepare import ensure_ready, find_ready
from benchmarks.schema import Benchmark, load_benchmark
from classification.data import ValidationImages

IMAGE = "imagenet/train/blue/3.jpg"


@pytest.fixture
def squares(make_benchmark: Callable[..., Path], tmp_path: Path) -> Benchmark:
    return load_benchmark(make_benchmark(tmp_path))


def by_stage(reports: list[StageReport]) -> dict[str, StageReport]:
    return {report.stage: report for report in reports}


def flip(path: Path, at: int = -40) -> None:
    """One bit; size and time stay."""
    found = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.reliability(11, "trickle validate counts images, boxes and pixels by class and split")
def test_counts_are_those_of_the_files(squares: Benchmark, tmp_path: Path) -> None:
    found = by_stage(validate_fully(squares))
    assert found["pretraining"].images == {"train": 24, "val": 9}
    assert found["pretraining"].counts["val"] == {"blue": 3, "green": 3, "red": 3}
    year = tmp_path / "VOCdevkit/VOC2007"
    ids = (year / "ImageSets/Main/test.txt").read_text().split()
    text = "".join((year / "Annotations" / f"{name}.xml").read_text() for name in ids)
    boxes = {name: text.count(f"<name>{name}</name>") for name in ("blue", "green", "red")}
    assert found["detection"].images == {"VOC2007/trainval": 10, "VOC2007/test": 5}
    assert found["detection"].counts["VOC2007/test"] == {k: n for k, n in boxes.items() if n}
    masks = [
        cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        for file in (tmp_path / "ADEChallengeData2016/annotations/training").iterdir()
    ]
    pixels = np.bincount(np.stack(masks).ravel(), minlength=4)[1:]
    assert found["segmentation"].unit == "pixels"
    assert list(found["segmentation"].counts["training"].values()) == pixels.tolist()
    assert not any(r.problems or r.duplicates or r.changed for r in found.values())


@pytest.mark.reliability(11, "The number of processes changes nothing of a validation")
def test_processes_change_nothing(squares: Benchmark) -> None:
    validate_fully(squares)  # with which both are compared
    assert validate_fully(squares, workers=1) == validate_fully(squares, workers=2)


def test_only_decoding_shows_some_damage(squares: Benchmark, tmp_path: Path) -> None:
    file = tmp_path / "imagenet/train/blue/extra.png"
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    ensure_ready(squares)  # by headers it is whole
    problems = by_stage(validate_fully(squares, tolerate=1))["pretraining"].problems
    assert list(problems) == ["train/blue/extra.png"]
    # What was read once is known to later runs, which read headers only.
    with pytest.raises(DataError, match=r"extra\.png cannot be decoded"):
        ensure_ready(squares)
    ready = ensure_ready(squares, tolerate=1)
    assert ready.benchmark.pretraining.left_out == ("train/blue/extra.png",)


def test_images_of_every_mode_are_read_or_named(squares: Benchmark, tmp_path: Path) -> None:
    """Transparent, of 1 and of 16 bits: as training reads them; only what has nothing but alpha is
    named."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "imagenet/train/blue"
    deep = rng.integers(0, 2**16, (40, 40, 4), np.uint16)
    photograph = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
    clear = Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8))
    grey, palette, black = (
        photograph.convert("L"),
        photograph.quantize(16),
        clear.point(lambda _: 0),
    )
    some = bytes(range(0, 256, 16))
    for name, image, transparency in (
        ("RGBA", Image.merge("RGBA", [*photograph.split(), clear]), None),
        ("LA", Image.merge("LA", [grey, clear]), None),
        ("P", palette, some),
        ("1", grey.convert("1"), 0),
        ("L", grey, 7),
        ("alpha alone", Image.merge("LA", [black, clear]), None),
    ):
        shown = {} if transparency is None else {"transparency": transparency}
        image.save(folder / f"{name}.png", **shown)
    one_color = palette.copy()
    one_color.putpalette([9, 9, 9] * 16)
    one_color.save(folder / "one color.png", transparency=some)
    for name, pixels in {"16 grey": deep[..., 0], "16": deep[..., :3], "16 alpha": deep}.items():
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    (report,) = [r for r in validate_fully(squares, tolerate=2) if r.stage == "pretraining"]
    assert sorted(report.problems) == ["train/blue/alpha alone.png", "train/blue/one color.png"]
    assert all("in its alpha channel" in said for said in report.problems.values())

    names = ["RGBA", "LA", "P", "1", "L", "16 grey", "16", "16 alpha"]
    opaque = [*[photograph] * 2, palette, grey.convert("1"), grey]
    expected = [np.asarray(image.convert("RGB")) for image in opaque]
    expected[1] = np.asarray(grey.convert("RGB"))
    upper = (deep >> 8).astype(np.uint8)
    expected += [np.dstack([upper[..., 0]] * 3), *[upper[..., 2::-1]] * 2]
    images = ValidationImages(
        [(folder / f"{name}.png", 0) for name in names], size=40, resize_size=40
    )
    for place, pixels in enumerate(expected):
        read = np.asarray(images[place]["images"])
        assert np.array_equal(read.transpose(1, 2, 0), pixels), names[place]


@pytest.mark.reliability(11, "A test image among the training images is found by its pixels")
def test_duplicates_are_found_by_content(squares: Benchmark, tmp_path: Path) -> None:
    root = tmp_path / "imagenet"
    shutil.copy(root / "train/red/1.jpg", root / "val/red/copy.jpg")
    pixels = cv2.imread(str(root / "train/blue/2.jpg"))
    cv2.imwrite(str(root / "val/green/same.png"), pixels)  # other bytes, other class
    assert by_stage(validate_fully(squares))["pretraining"].duplicates == (
        ("train/blue/2.jpg", "val/green/same.png"),
        ("train/red/1.jpg", "val/red/copy.jpg"),
    )


@pytest.mark.reliability(
    11, "With --full a changed byte is refused by name, size and time restored"
)
@pytest.mark.parametrize(
    "place",
    [
        IMAGE,
        "VOCdevkit/VOC2007/JPEGImages/test0.jpg",
        "VOCdevkit/VOC2007/Annotations/test0.xml",
        "ADEChallengeData2016/images/validation/0.jpg",
    ],
)
def test_a_flipped_byte_is_refused(squares: Benchmark, tmp_path: Path, place: str) -> None:
    validate_fully(squares)
    ensure_ready(squares, full=True)
    flip(tmp_path / place, at=-3 if place.endswith("xml") else -40)
    ready = ensure_ready(squares)  # which compares sizes and times
    assert ready.digests
    with pytest.raises(DataError, match=f"{place} has other content, with the size and time"):
        ensure_ready(squares, full=True)


def test_what_an_earlier_version_kept_is_named_once(
    squares: Benchmark, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was JSON: {"sha256": ..., "value": ...} by the same name."""
    ensure_ready(squares, full=True)
    capfd.readouterr()
    older = [file.rename(file.with_suffix(".json")) for file in (cache / "manifests").iterdir()]
    assert len(older) == 3
    ensure_ready(squares, full=True)
    told = capfd.readouterr().err
    for file in older:
        assert told.count(f"nothing to compare with: {file} is an earlier version's; read") == 1
    ensure_ready(squares, full=True)
    assert "earlier version" not in capfd.readouterr().err


def test_full_reads_everything_where_nothing_was_read_before(
    squares: Benchmark, capfd: pytest.CaptureFixture[str]
) -> None:
    assert read_manifest("pretraining", squares.pretraining.root) is None
    ensure_ready(squares, full=True)
    told = capfd.readouterr().err
    assert told.count("nothing to compare with: it was never read in full; read now") == 3
    kept = read_manifest("pretraining", squares.pretraining.root)
    assert kept is not None
    assert len(kept.files) == 33


@pytest.mark.parametrize("how", ["new", "gone"])
def test_files_that_come_and_go_are_named(squares: Benchmark, tmp_path: Path, how: str) -> None:
    validate_fully(squares)
    if how == "new":
        shutil.copy(tmp_path / IMAGE, tmp_path / "imagenet/train/blue/new.jpg")
    else:
        (tmp_path / IMAGE).unlink()
    word = r"new\.jpg is new" if how == "new" else r"3\.jpg is not part of the data any more"
    with pytest.raises(DataError, match=word):
        ensure_ready(squares, full=True)
    assert "".join(by_stage(validate_fully(squares, full=True))["pretraining"].changed)
    validate_fully(squares)  # accepts what is there
    ensure_ready(squares, full=True)


def test_what_is_refused_is_not_kept(squares: Benchmark, tmp_path: Path) -> None:
    (tmp_path / IMAGE).write_bytes(b"")
    validate_fully(squares)
    assert read_manifest("pretraining", squares.pretraining.root) is None
    validate_fully(squares, tolerate=1)
    kept = read_manifest("pretraining", squares.pretraining.root)
    assert kept is not None
    assert "train/blue/3.jpg" not in kept.files
    ensure_ready(squares, tolerate=1, full=True)


def manifests(cache: Path) -> dict[str, Path]:
    """The file of each stage's manifest: the longest is pretraining's, with its 33 files."""
    files = sorted(
        (cache / "manifests").iterdir(), key=lambda file: file.read_bytes().count(b"jpg")
    )
    return dict(zip(("segmentation", "detection", "pretraining"), files, strict=True))


@pytest.mark.reliability(
    4, "A damaged manifest of the data is refused by name: a changed byte never becomes the truth"
)
def test_a_damaged_manifest_is_refused(squares: Benchmark, tmp_path: Path, cache: Path) -> None:
    validate_fully(squares)
    file = manifests(cache)["pretraining"]
    flip(file, at=file.read_bytes().index(b"jpg"))
    flip(tmp_path / IMAGE)
    damaged = file.read_bytes()
    with pytest.raises(DataError, match=rf"{file} is damaged\n.*without --full"):
        ensure_ready(squares, full=True)
    found = by_stage(validate_fully(squares, full=True))
    assert str(file) in (found["pretraining"].damaged or "")
    assert found["detection"].damaged is None
    assert file.read_bytes() == damaged
    validate_fully(squares)  # accepts what is there
    ensure_ready(squares, full=True)


def test_the_other_stages_are_compared_where_one_was_never_read(
    squares: Benchmark, tmp_path: Path, cache: Path
) -> None:
    validate_fully(squares)
    manifests(cache)["detection"].unlink()
    flip(tmp_path / IMAGE)
    with pytest.raises(DataError, match=f"{IMAGE} has other content"):
        ensure_ready(squares, full=True)


def test_a_run_says_that_test_images_are_training_images(
    squares: Benchmark, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        shutil.copy(
            tmp_path / "imagenet/train/red/1.jpg", tmp_path / f"imagenet/val/red/{name}.jpg"
        )
    voc = tmp_path / "VOCdevkit/VOC2007/JPEGImages"
    shutil.copy(voc / "trainval0.jpg", voc / "test0.jpg")
    assert ensure_ready(squares).notes("pretraining") == ()
    validate_fully(squares)
    capfd.readouterr()
    ready = find_ready(squares)
    told = capfd.readouterr().err
    assert ready is not None
    assert "squares, pretraining: 2 test images are among the training images" in told
    assert "squares, detection: 1 test image is among the training images" in told
    assert "squares, segmentation" not in told
    (note,) = ready.notes("detection")
    assert note.startswith("1 test image is among the training images")
    assert ready.notes("segmentation") == ()
    ensure_ready(squares, warn=False)  # as each job does
    assert capfd.readouterr().err == ""


def test_a_run_says_how_far_its_data_was_read(
    squares: Benchmark, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def told() -> str:
        ensure_ready(squares)
        return capfd.readouterr().err

    assert "`trickle validate` reads the files in full" in told()
    validate_fully(squares)
    capfd.readouterr()
    assert "every file was read in full on 2" in told()
    os.utime(tmp_path / IMAGE)
    assert "`trickle validate` reads the files in full" in told()
