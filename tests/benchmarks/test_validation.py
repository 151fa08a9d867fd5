"""All data is checked before any training, and only once as long as it does not change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import voc_layout
from benchmarks.errors import DataError
from benchmarks.schema import Benchmark, load_benchmark
from benchmarks.validation import ValidatedData, validate

STAGES = ("pretraining", "detection", "segmentation")


@pytest.fixture
def benchmark_file(make_benchmark: Callable[..., Path], tmp_path: Path) -> Path:
    return make_benchmark(tmp_path)


@pytest.fixture
def squares(benchmark_file: Path) -> Benchmark:
    return load_benchmark(benchmark_file)


def validate_stage(benchmark: Benchmark, stage: str) -> ValidatedData:
    return validate(benchmark)[stage]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_good_data_has_a_digest_a_stage(squares: Benchmark) -> None:
    found = {stage: validate_stage(squares, stage) for stage in STAGES}
    assert len({data.digest for data in found.values()}) == 3
    assert [data.warnings for data in found.values()] == [(), (), ()]


@pytest.mark.parametrize(
    ("stage", "damaged"),
    [
        ("pretraining", "imagenet/train/blue/0.jpg"),
        ("pretraining", "imagenet/val/red/2.jpg"),
        ("detection", "VOCdevkit/VOC2007/JPEGImages/test0.jpg"),
        ("segmentation", "ADEChallengeData2016/images/training/0.jpg"),
        ("segmentation", "ADEChallengeData2016/annotations/validation/0.png"),
    ],
)
def test_damage_is_found_at_the_first_start_and_at_a_later_one(
    squares: Benchmark, benchmark_file: Path, stage: str, damaged: str
) -> None:
    validate_stage(squares, stage)
    cut(benchmark_file.parent / damaged)
    for _ in range(2):  # what is wrong is not remembered as right
        with pytest.raises(DataError, match=f"{stage} data of benchmark squares: .*{damaged}"):
            validate_stage(squares, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_data_is_not_checked_again(
    squares: Benchmark, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = validate_stage(squares, stage)

    def never(*_: object) -> None:
        raise AssertionError("read again")

    for name in ("voc_layout.read_annotation", "imagenet_layout.check_image"):
        monkeypatch.setattr(f"benchmarks.{name}", never)
    monkeypatch.setattr("benchmarks.labelled_pixels.check_image", never)
    monkeypatch.setattr("benchmarks.digest.sha256_file", never)
    assert validate_stage(squares, stage) == first


def test_other_classes_are_checked_anew(squares: Benchmark) -> None:
    assert squares.detection is not None
    assert squares.segmentation is not None
    for stage in STAGES:
        validate_stage(squares, stage)
    fewer = squares.model_copy(
        update={
            "detection": squares.detection.model_copy(update={"classes": ("blue", "green")}),
            "segmentation": squares.segmentation.model_copy(update={"classes": ("blue", "green")}),
        }
    )
    with pytest.raises(DataError, match="class 'red', which the benchmark does not name"):
        validate_stage(fewer, "detection")
    with pytest.raises(DataError, match="holds index 3, the benchmark names 2 classes"):
        validate_stage(fewer, "segmentation")


def test_warnings_come_back_from_the_cache(squares: Benchmark, benchmark_file: Path) -> None:
    folder = benchmark_file.parent / "VOCdevkit/VOC2007"
    annotation = sorted((folder / "Annotations").glob("trainval*.xml"))[0]
    flat = (
        "<object><name>red</name><bndbox><xmin>7</xmin><ymin>7</ymin>"
        "<xmax>7</xmax><ymax>7</ymax></bndbox></object></annotation>"
    )
    annotation.write_text(annotation.read_text().replace("</annotation>", flat))
    expected = (f"dropped 1 boxes without an area ({annotation.name})",)
    assert [validate_stage(squares, "detection").warnings for _ in range(2)] == [expected] * 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    squares: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "file"))
    calls: list[str] = []
    original = voc_layout.read_annotation

    def counted(root: Path, year: str, image_id: str, classes: object) -> voc_layout.VOCImage:
        calls.append(image_id)
        return original(root, year, image_id, squares.detection.classes)  # type: ignore[union-attr]

    monkeypatch.setattr(voc_layout, "read_annotation", counted)
    digests = {validate_stage(squares, "detection").digest for _ in range(2)}
    assert len(digests) == 1
    assert len(calls) == 2 * 15
