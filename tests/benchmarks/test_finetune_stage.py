"""`[finetune]` is a stage as the others are: checked, digested, tolerated, read in full."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError, DataError
from benchmarks.full_validation import require_unchanged, validate_fully
from benchmarks.labelled_images import read_labelled
from benchmarks.missing_data import missing_data
from benchmarks.prepare import ensure_ready
from benchmarks.schema import Benchmark, load_benchmark
from benchmarks.unlabelled_images import unlabelled_digest
from eval.data_roots import check_data


@pytest.fixture(scope="module")
def drawn(make_benchmark: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 9 test images of three classes. Not to be changed."""
    return make_benchmark(tmp_path_factory.mktemp("drawn")).parent / "imagenet"


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "photos"))


def write_list(photos: Path) -> Path:
    """The training images of `photos` as a CSV file, without test images."""
    images = sorted((photos / "train").glob("*/*.jpg"))
    rows = [f"{p.relative_to(photos.parent)},{p.parent.name}" for p in images]
    file = photos.parent / "photos.csv"
    file.write_text("\n".join(["path,label", *rows]) + "\n")
    return file


def benchmark(folder: Path, root: str, *more: str) -> Benchmark:
    (folder / "own.toml").write_text("\n".join(["[finetune]", f"root = '{root}'", *more]) + "\n")
    return load_benchmark(folder / "own.toml")


def test_another_label_is_another_digest_and_another_place_the_same_one(
    photos: Path, tmp_path: Path
) -> None:
    file = write_list(photos)
    own = benchmark(tmp_path, "photos.csv")
    digest = ensure_ready(own).digests["finetune"]
    elsewhere = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-elsewhere"))
    there = load_benchmark(elsewhere / "own.toml")
    assert ensure_ready(there).digests["finetune"] == digest
    text = file.read_text()
    file.write_text(text.replace("blue/0.jpg,blue", "blue/0.jpg,red"))
    assert ensure_ready(own).digests["finetune"] != digest
    file.write_text(text)
    assert ensure_ready(own).digests["finetune"] == digest


@pytest.mark.parametrize("layout", ["folders", "csv"])
def test_what_is_tolerated_is_left_out_of_what_is_learnt(
    photos: Path, tmp_path: Path, layout: str
) -> None:
    if layout == "csv":
        write_list(photos)
    own = benchmark(tmp_path, "photos" if layout == "folders" else "photos.csv")
    image = photos / "train/blue/3.jpg"
    image.write_bytes(b"")
    with pytest.raises(DataError, match=r"finetune data of benchmark own: .*blue/3.jpg is empty"):
        ensure_ready(own)
    ready = ensure_ready(own, tolerate=1)
    assert ready.notes("finetune") == ("1 unusable file was left out (--tolerate 1)",)
    assert ready.benchmark.finetune is not None
    left = read_labelled(ready.benchmark.finetune, "train")
    assert left is not None
    there = set((photos / "train").glob("*/*.jpg")) - {image}
    assert {path for path, _ in left.samples} == there
    assert [
        ready.benchmark.finetune.folder / name for name in ready.benchmark.finetune.left_out
    ] == [image]


def test_full_validation_reads_counts_and_compares_a_csv_and_its_images(
    photos: Path, tmp_path: Path
) -> None:
    file = write_list(photos)
    own = benchmark(tmp_path, "photos.csv")
    (report,) = validate_fully(own, workers=1)
    assert (report.stage, report.root) == ("finetune", file)
    assert report.counts == {"train": {"blue": 8, "green": 8, "red": 8}}
    assert len(report.manifest.files) == 25
    require_unchanged(own)
    (photos / "train/red/1.jpg").write_bytes((photos / "train/red/2.jpg").read_bytes())
    with pytest.raises(DataError, match=r"red/1.jpg has other content"):
        require_unchanged(own)


def test_a_test_image_among_the_training_images_is_found_by_its_pixels(
    photos: Path, tmp_path: Path
) -> None:
    shutil.copy(photos / "val/red/0.jpg", photos / "train/red/9.jpg")
    (report,) = validate_fully(benchmark(tmp_path, "photos"), workers=1)
    assert report.duplicates == (("train/red/9.jpg", "val/red/0.jpg"),)


def test_what_is_missing_is_named_with_what_it_should_hold(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = benchmark(tmp_path, "photos.csv", "unlabelled = 'more'")
    assert missing_data(own) == [
        f"no file {tmp_path}/photos.csv, for finetune: it should hold a row for each image, below "
        "the header path,label",
        f"no folder {tmp_path}/more, for finetune: it should hold images without labels; or leave "
        "unlabelled out",
    ]
    section = check_data(str(tmp_path / "own.toml"), asked=True)
    assert [finding.what.split(": ")[0] for finding in section.findings] == [
        f"the finetune data of benchmark {tmp_path}/own.toml is missing",
        f"the unlabelled images of benchmark {tmp_path}/own.toml are missing",
    ]
    write_list(photos)
    (tmp_path / "more").mkdir()
    assert missing_data(own) == []
    ensure_ready(own)
    assert "more holds no unlabelled image" in capfd.readouterr().err


def test_a_leak_is_told_as_soon_as_it_is_there_and_changes_no_digest_of_labelled_images(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more"
    shutil.copytree(photos / "train/red", more)
    for path in more.iterdir():
        path.write_bytes(path.read_bytes() + b"\0")  # padding: the same picture, other content
    own = benchmark(tmp_path, "photos", "unlabelled = 'more'")
    digest = ensure_ready(own).digests["finetune"]
    assert "are test images" not in capfd.readouterr().err
    assert own.finetune is not None
    clean = unlabelled_digest(own.finetune)
    shutil.copy(photos / "val/blue/0.jpg", more / "leak.jpg")
    for _ in range(2):  # what was found is remembered
        assert ensure_ready(own).digests["finetune"] == digest
        assert "1 of the unlabelled images are test images: left out" in capfd.readouterr().err
    assert unlabelled_digest(own.finetune) == clean
    (more / "0.jpg").unlink()
    assert unlabelled_digest(own.finetune) != clean


def test_a_rendered_world_may_be_fine_tuned_on(
    mini_toml: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import prepare

    monkeypatch.setattr(prepare, "_render_once", lambda _, to: shutil.copytree(world, to))
    text = mini_toml.read_text()
    root = load_benchmark(mini_toml).require_pretraining().root
    table = f"[finetune]\nroot = '{root}'\nunlabelled = '{root}/val'\n\n[world]"
    assert "\n[world]" in text
    (tmp_path / "world.toml").write_text(text.replace("[world]", table, 1))
    placed = prepare.place(load_benchmark(tmp_path / "world.toml"))
    assert placed.finetune is not None
    images = {split: read_labelled(placed.finetune, split) for split in ("train", "test")}
    assert [len(found.samples) for found in images.values() if found is not None] == [20, 10]
    assert placed.finetune.unlabelled == placed.finetune.root / "val"


def test_what_needs_the_pretraining_of_such_a_benchmark_says_so(photos: Path) -> None:
    from eval.transfer import ask

    benchmark(photos.parent, "photos")
    asked = {"benchmark": str(photos.parent / "own.toml"), "seeds": [0], "out": None}
    said = "no backbone can be trained on it; name finished ones, as timm"
    with pytest.raises(BenchmarkError, match=rf"own has no \[pretraining\]: {said}"):
        ask(["resnet18d_cosine"], tasks=None, command="trickle run", **asked)  # type: ignore[arg-type]
