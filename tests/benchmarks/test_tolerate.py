"""`--tolerate N`: at most N unusable images are left out everywhere, by name and on record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import validation
from benchmarks.errors import DataError
from benchmarks.imagenet_layout import read_index
from benchmarks.prepare import ensure_ready
from benchmarks.schema import Benchmark, load_benchmark
from benchmarks.voc_layout import read_split
from classification.protocol import pretraining_protocol
from classification.recipes import RECIPES
from detection.protocol import detection_protocol

IMAGE = "imagenet/train/blue/3.jpg"
BOXES = "VOCdevkit/VOC2007/Annotations/trainval4.xml"


@pytest.fixture
def squares(make_benchmark: Callable[..., Path], tmp_path: Path) -> Benchmark:
    return load_benchmark(make_benchmark(tmp_path))


@pytest.fixture
def damaged(squares: Benchmark, tmp_path: Path) -> Benchmark:
    """An image and an annotation are unusable."""
    (tmp_path / IMAGE).write_bytes(b"")
    (tmp_path / BOXES).write_text("<annotation>")
    return squares


@pytest.mark.reliability(6, "More unusable files than --tolerate allows are refused, all by name")
@pytest.mark.parametrize("tolerate", [0, 1])
def test_more_than_are_tolerated_are_refused(damaged: Benchmark, tolerate: int) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="2 files cannot be used") as caught:
            ensure_ready(damaged, tolerate=tolerate)
        for text in (IMAGE, BOXES, "pretraining and detection", "--tolerate 2"):
            assert text in str(caught.value)


@pytest.mark.reliability(6, "What --tolerate leaves out is left out of every list, and recorded")
def test_what_is_tolerated_is_left_out(
    damaged: Benchmark, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = ensure_ready(damaged, tolerate=2)
    budget, boxes = ready.benchmark.pretraining, ready.benchmark.detection
    assert boxes is not None
    assert ready.benchmark.segmentation is not None
    left_out = [budget.left_out, boxes.left_out, ready.benchmark.segmentation.left_out]
    assert left_out == [("train/blue/3.jpg",), ("VOC2007/JPEGImages/trainval4.jpg",), ()]
    index = read_index(budget.root, "train", left_out=budget.left_out)
    assert len(index.samples) == 23
    assert not any(str(path).endswith("blue/3.jpg") for path, _ in index.samples)
    images = read_split(boxes.root, "VOC2007/trainval", boxes.classes, left_out=boxes.left_out)
    assert [image.image_id for image in images] == [f"trainval{n}" for n in range(10) if n != 4]
    told = capfd.readouterr().err
    assert told.count("left out, ") == 2
    assert str(tmp_path / IMAGE) in told
    assert ready.notes("pretraining") == ("1 unusable file was left out (--tolerate 2)",)
    assert ready.notes("segmentation") == ()

    protocol = pretraining_protocol(
        "resnet18", RECIPES["standard"], ready.benchmark, ready.digests["pretraining"]
    )
    digest = hashlib.sha256(b"train/blue/3.jpg").hexdigest()
    assert protocol["left_out"] == {"files": 1, "digest": digest}
    assert "left_out" in detection_protocol(ready.benchmark, ready.digests["detection"])


def test_the_digest_is_that_of_what_is_left(squares: Benchmark, tmp_path: Path) -> None:
    clean = ensure_ready(squares, tolerate=5)
    assert clean.digests == ensure_ready(squares).digests
    (tmp_path / IMAGE).write_bytes(b"")
    tolerated = ensure_ready(squares, tolerate=1).digests
    (tmp_path / IMAGE).unlink()
    removed = ensure_ready(squares).digests
    assert tolerated["pretraining"] == removed["pretraining"] != clean.digests["pretraining"]


def test_clean_data_has_the_protocol_that_it_always_had(squares: Benchmark) -> None:
    ready = ensure_ready(squares, tolerate=3)
    protocol = detection_protocol(ready.benchmark, ready.digests["detection"])
    assert "left_out" not in protocol
    assert protocol == detection_protocol(squares, ready.digests["detection"])


def test_a_job_leaves_out_the_same_without_looking_again(
    damaged: Benchmark, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first = ensure_ready(damaged, tolerate=2)
    capfd.readouterr()

    def never(*_: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(validation, "inspect_all", never)
    assert ensure_ready(damaged, warn=False, tolerate=2) == first
    assert capfd.readouterr().err == ""


def test_a_missing_file_can_be_tolerated(squares: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit/VOC2007/JPEGImages/test1.jpg").unlink()
    (tmp_path / "ADEChallengeData2016/annotations/validation/2.png").unlink()
    with pytest.raises(DataError, match=r"test1\.jpg is listed in the data and not there"):
        ensure_ready(squares)
    ready = ensure_ready(squares, tolerate=2).benchmark
    assert ready.detection is not None
    assert ready.segmentation is not None
    assert ready.detection.left_out == ("VOC2007/JPEGImages/test1.jpg",)
    assert ready.segmentation.left_out == ("images/validation/2.jpg",)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_loses_all_its_images_is_refused(
    squares: Benchmark, tmp_path: Path, split: str
) -> None:
    for file in (tmp_path / "imagenet" / split / "red").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=f"no usable image is left in .*{split}/red"):
        ensure_ready(squares, tolerate=100)


def test_a_class_that_loses_all_its_boxes_is_refused(squares: Benchmark, tmp_path: Path) -> None:
    for file in (tmp_path / "VOCdevkit/VOC2007/Annotations").iterdir():
        if "<name>red<" in file.read_text():
            file.write_text("")
    with pytest.raises(DataError, match="no usable image of red is left"):
        ensure_ready(squares, tolerate=100)


def test_a_benchmark_file_cannot_leave_out_by_itself(squares: Benchmark, tmp_path: Path) -> None:
    for key in ("left_out", "_left_out"):
        file = tmp_path / "other.toml"
        text = (tmp_path / "squares.toml").read_text()
        file.write_text(text.replace("[detection]", f'[detection]\n{key} = ["a"]'))
        with pytest.raises(ValueError, match=f"detection.{key}: no such key"):
            load_benchmark(file)
