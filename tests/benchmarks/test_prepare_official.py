"""`trickle prepare`: the official archives, or what is unpacked of them, become data of `paper`."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.errors import DataError
from benchmarks.official import checked_archives
from benchmarks.official.prepare_data import prepare_data
from benchmarks.official.releases import RELEASES, Release
from benchmarks.schema import load_benchmark
from engine.locks import Lock
from eval.validate import validate_benchmark
from eval.verbs import trickle
from tests.benchmarks import official_archives

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """archives: by name; content: of the prepared folder, by path from TRICKLE_DATA."""

    release: Release
    archives: dict[str, bytes]
    content: dict[str, bytes]
    toml: Path


@pytest.fixture(scope="session")
def miniatures(
    make_benchmark: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Miniature]:
    made = tmp_path_factory.mktemp("made")
    toml = make_benchmark(made, detection={"train": ["VOC2007/trainval", "VOC2012/trainval"]})
    archives, release, splits = official_archives.imagenet(made / "imagenet")
    content = {
        f"imagenet/{split}/{name}": data
        for split, files in splits.items()
        for name, data in files.items()
    }
    found = {"imagenet": Miniature(release=release, archives=archives, content=content, toml=toml)}
    for dataset, (archives, release, content) in {
        "voc": official_archives.voc(made / "VOCdevkit/VOC2007"),
        "ade20k": official_archives.ade20k(made / "ADEChallengeData2016"),
    }.items():
        found[dataset] = Miniature(release=release, archives=archives, content=content, toml=toml)
    return found


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for everything that this machine has yet to write."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def source(tmp_path: Path, miniatures: dict[str, Miniature]) -> Path:
    """All archives, as they were downloaded."""
    folder = tmp_path / "downloads"
    for miniature in miniatures.values():
        official_archives.write_all(folder, miniature.archives.items())
    return folder


DATASETS = ("imagenet", "voc", "ade20k")


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every file below, through links, by its path."""
    return {
        os.path.relpath(Path(parent, name), folder): Path(parent, name).read_bytes()
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    }


def refused(release: Release, source: Path, target: Path, *messages: str) -> None:
    """DataError with all of these in it."""
    with pytest.raises(DataError) as caught:
        prepare_data(release, source, target)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_from_archives(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature], dataset: str
) -> None:
    miniature, target = miniatures[dataset], tmp_path / "data"
    prepared = prepare_data(miniature.release, source, target)
    assert prepared.folder == target / miniature.release.folder
    assert set(prepared.missing) == set(DATASETS) - {dataset}
    # Nothing else remains in the target: no half of anything, no lock.
    assert tree_of(target) == miniature.content

    shutil.rmtree(source)
    source.mkdir()
    before = {path: path.lstat().st_mtime_ns for path in target.rglob("*")}
    prepare_data(miniature.release, source, target)
    assert {path: path.lstat().st_mtime_ns for path in target.rglob("*")} == before


def test_what_is_prepared_can_be_used(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    """In the target of its archives, also as links to where it lies unpacked."""
    unpacked, linked = tmp_path / "unpacked", tmp_path / "linked"
    for miniature in miniatures.values():
        last = prepare_data(miniature.release, source, unpacked)
        prepare_data(miniature.release, unpacked, linked)
    assert last.missing == ()
    digests = []
    for target in (unpacked, linked):
        shutil.copy(miniatures["voc"].toml, target / "squares.toml")
        verdict = validate_benchmark(
            load_benchmark(str(target / "squares.toml")), tolerate=0, full=False, workers=1
        )
        assert verdict.refused == ()
        digests.append([report.manifest.digest for report in verdict.reports])
        images = {report.stage: dict(report.images) for report in verdict.reports}
        assert images["pretraining"] == {"train": 24, "val": 9}
        assert images["segmentation"] == {"training": 8, "validation": 4}
        assert images["detection"]["VOC2007/test"] == 5
        assert sum(images["detection"].values()) == 25
    assert digests[0] == digests[1]


def test_the_folders_are_those_of_the_benchmark() -> None:
    paper = tomllib.loads((ROOT / "benchmarks/paper.toml").read_text())
    for stage, dataset in zip(("pretraining", "detection", "segmentation"), DATASETS, strict=True):
        assert paper[stage]["root"].endswith(f"}}/{RELEASES[dataset].folder}")
    splits = {*paper["detection"]["train"], paper["detection"]["test"]}
    assert set(RELEASES["voc"].counts) == splits


def test_the_checksums_are_those_of_torchvision() -> None:
    """Read from its source: to import it takes seconds."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets"
    known = set(re.findall(r'\("(ILSVRC.*?)", "(\w{32})"\)', (folder / "imagenet.py").read_text()))
    year = r'"filename": "(.*?)",\s*"md5": "(\w{32})"'
    known |= set(re.findall(year, (folder / "voc.py").read_text()))
    archives = [*RELEASES["imagenet"].archives, *RELEASES["voc"].archives]
    assert {(archive.name, archive.md5) for archive in archives} <= known


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_truncated_archive(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature], dataset: str
) -> None:
    release = miniatures[dataset].release
    archive = source / release.archives[0].name
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    refused(release, source, tmp_path / "data", str(archive), "ownload it again")
    assert tree_of(tmp_path / "data") == {}


def test_another_archive_than_the_published(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    release = miniatures["voc"].release
    archive = source / release.archives[1].name
    expected = release.archives[1].md5
    archive.write_bytes(archive.read_bytes() + bytes(1024))
    found = subprocess.run(["md5sum", archive], capture_output=True, text=True, check=True)
    message = [str(archive), str(expected), found.stdout.split()[0], "download it again from http"]
    refused(release, source, tmp_path / "data", *message)


def test_all_wrong_checksums_are_named_at_once(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    release = miniatures["voc"].release
    wrong = [archive.name for archive in release.archives[:2]]
    for name in wrong:
        (source / name).write_bytes((source / name).read_bytes() + bytes(1024))
    refused(release, source, tmp_path / "data", *(f"{name} is not the published" for name in wrong))


def test_a_tree_that_failed_its_count_is_not_taken_for_another_archive(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    """ADE20K has no published checksum: only the count tells a wrong archive."""
    miniature, target = miniatures["ade20k"], tmp_path / "data"
    name = miniature.release.archives[0].name
    with zipfile.ZipFile(io.BytesIO(miniature.archives[name])) as whole:
        kept = {n: whole.read(n) for n in whole.namelist() if "ADE_train_00000003" not in n}
    with zipfile.ZipFile(source / name, "w") as part:
        for member, data in kept.items():
            part.writestr(member, data)
    refused(miniature.release, source, target, "ADE_train_00000003.jpg", "is deleted")
    assert tree_of(target) == {}
    (source / name).write_bytes(miniature.archives[name])
    prepare_data(miniature.release, source, target)
    assert tree_of(target) == miniature.content


def test_a_missing_archive(tmp_path: Path, source: Path, miniatures: dict[str, Miniature]) -> None:
    (source / "VOCtest_06-Nov-2007.tar").unlink()
    there = "There: VOCtrainval_06-Nov-2007.tar, VOCtrainval_11-May-2012.tar"
    refused(
        miniatures["voc"].release,
        source,
        tmp_path / "data",
        "Missing:\n  VOCtest_06-Nov-2007.tar, from http",
        there,
    )


@pytest.mark.parametrize("name", ["../x", "/etc/x", "VOCdevkit/link"])
def test_a_hostile_member(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature], name: str
) -> None:
    """It cannot have the published checksum; here it has."""
    miniature = miniatures["voc"]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        info = tarfile.TarInfo(name)
        if name.endswith("link"):
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    archives = {**miniature.archives, "VOCtest_06-Nov-2007.tar": content.getvalue()}
    official_archives.write_all(source, archives.items())
    release = official_archives.released(miniature.release, archives)
    refused(release, source, tmp_path / "data", "VOCtest_06-Nov-2007.tar", repr(name))
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "data/VOCdevkit").exists()


def test_a_hostile_member_of_a_class(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    """What was unpacked before it stays, and nothing of it."""
    miniature = miniatures["imagenet"]
    bad = official_archives.tar_of({"../../x.JPEG": b"1"})
    with tarfile.open(fileobj=io.BytesIO(miniature.archives["ILSVRC2012_img_train.tar"])) as tar:
        inner = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    inner["n01484850.tar"] = bad
    archives = {
        **miniature.archives,
        "ILSVRC2012_img_train.tar": official_archives.tar_of(inner),
    }
    official_archives.write_all(source, archives.items())
    release = official_archives.released(miniature.release, archives)
    where = "ILSVRC2012_img_train.tar/n01484850.tar"
    refused(release, source, tmp_path / "data", where, "leads out of its folder")
    work = tmp_path / "data/imagenet.partial/tree"
    assert {path.name for path in (work / "train").iterdir()} == {"n01440764", "n01443537"}

    official_archives.write_all(source, miniature.archives.items())
    # Of another archive nothing is kept.
    (work / "train/n01440764/stale.JPEG").touch()
    prepare_data(miniature.release, source, tmp_path / "data")
    assert tree_of(tmp_path / "data") == miniature.content


@pytest.mark.parametrize("dataset", DATASETS)
def test_too_little_room(
    tmp_path: Path,
    source: Path,
    miniatures: dict[str, Miniature],
    dataset: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it says it needs is at least what it takes."""
    miniature = miniatures[dataset]
    taken = sum(-(-len(data) // 4096) * 4096 for data in miniature.content.values())
    usage = type("usage", (), {"free": taken - 1})
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        refused(miniature.release, source, tmp_path / "data", "MiB free", "--to")
    assert tree_of(tmp_path / "data") == {}
    # The archives are known by now: they are not read through again.
    with monkeypatch.context() as patch:
        patch.setattr(checked_archives, "_md5", None)
        prepare_data(miniature.release, source, tmp_path / "data")


def test_a_checksum_is_forgotten_with_its_file(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    release = miniatures["voc"].release
    prepare_data(release, source, tmp_path / "data")
    archive = source / release.archives[2].name
    data = bytearray(archive.read_bytes())
    data[5000] ^= 1
    archive.write_bytes(data)
    refused(release, source, tmp_path / "other", archive.name, "is not the published archive")


def test_places_that_cannot_be_used(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    release, file = miniatures["voc"].release, tmp_path / "file"
    file.touch()
    refused(release, tmp_path / "nowhere", tmp_path / "data", f"no folder {tmp_path / 'nowhere'}")
    refused(release, source, file / "data", f"{file / 'data'} cannot be written", "--to")
    refused(release, source, file / "data", f"in {file}, the last of its parents")
    refused(release, file, tmp_path / "data", f"{file} is a file; give its folder", str(tmp_path))
    assert not (tmp_path / "data").exists()

    tree = tmp_path / "ADE"
    files = miniatures["ade20k"].content.items()
    official_archives.write_all(tree, [(name.partition("/")[2], data) for name, data in files])
    refused(miniatures["ade20k"].release, tree, tree, "the folder above it", str(tmp_path))
    prepare_data(miniatures["ade20k"].release, tree, tree.parent)
    assert (tmp_path / "ADEChallengeData2016").resolve() == tree


def test_two_at_once(tmp_path: Path, source: Path, miniatures: dict[str, Miniature]) -> None:
    lock = Lock(tmp_path / "data/VOCdevkit.lock")
    assert lock.acquire()
    message = f"process {os.getpid()} on "
    refused(miniatures["voc"].release, source, tmp_path / "data", message, "wait until it is done")
    lock.release()
    prepare_data(miniatures["voc"].release, source, tmp_path / "data")


LOST = {
    "imagenet": ["train/n01440764/n01440764_3.JPEG", "val/n01440764/ILSVRC2012_val_00000005.JPEG",
                 "train/n01484850/n01484850_0.JPEG"],
    "voc": ["VOC2007/JPEGImages/test1.jpg", "VOC2012/Annotations/2012_trainval3.xml",
            "VOC2007/JPEGImages/trainval2.jpg"],
    "ade20k": ["images/training/ADE_train_00000003.jpg",
               "annotations/validation/ADE_val_00000002.png",
               "annotations/training/ADE_train_00000001.png"],
}  # fmt: skip


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("place", ["data", "elsewhere"])
def test_an_unpacked_tree_with_three_files_missing(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature], dataset: str, place: str
) -> None:
    """In the target, with the archives at hand; or somewhere else, with nothing else."""
    miniature, target = miniatures[dataset], tmp_path / "data"
    official_archives.write_all(tmp_path / place, miniature.content.items())
    for name in LOST[dataset]:
        (tmp_path / place / miniature.release.folder / name).unlink()
    named = LOST[dataset]
    if place == "elsewhere":
        source = tmp_path / place
        named = [name for name in named if "train/n0" not in name]  # no list of these is there
    names = [Path(name).name for name in named]
    refused(miniature.release, source, target, *names, "missing:", "Restore it")
    if dataset == "imagenet":
        refused(miniature.release, source, target, "train holds 22 images, 24 were expected")


@pytest.mark.parametrize("dataset", DATASETS)
def test_of_a_tree_that_is_mostly_missing_that_is_said_first(
    tmp_path: Path, miniatures: dict[str, Miniature], dataset: str
) -> None:
    """As of another data set in the same layout; the counts are by hand."""
    miniature = miniatures[dataset]
    official_archives.write_all(tmp_path, miniature.content.items())
    counts, said = {
        # 24 and 9 images are there.
        "imagenet": ({"train": 1000, "val": 1000}, "almost all: 1,967 of 2,000"),
        # 10, 10 and 5, each with its annotation.
        "voc": ({**dict.fromkeys(miniature.release.counts, 40)}, "190 of 240"),
        # 8 and 4, with their annotations.
        "ade20k": ({"training": 30, "validation": 30}, "96 of 120"),
    }[dataset]
    with pytest.raises(DataError) as caught:
        prepare_data(replace(miniature.release, counts=counts), tmp_path, tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{said} files are missing. Is this the right archive, or folder")
    # Three of the names, where there are many.
    assert text.count("ILSVRC2012_val_") == (3 if dataset == "imagenet" else 0)
    assert ("and 988 more" in text) == (dataset == "imagenet")


@pytest.mark.parametrize("place", ["with the archives", "with Kaggle's list", "alone"])
def test_a_stray_file_does_not_make_up_for_a_missing_one(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature], place: str
) -> None:
    """The number is right; only with the archive or Kaggle's list the training images are known."""
    miniature, data = miniatures["imagenet"], tmp_path / "data"
    official_archives.write_all(data, miniature.content.items())
    if place != "with the archives":
        source = tmp_path
    if place == "with Kaggle's list":
        train = [name for name in miniature.content if "/train/" in name]
        lines = "".join(f"{name.removeprefix('imagenet/train/')[:-5]} 1\n" for name in train)
        official_archives.write_all(tmp_path, [("ImageSets/CLS-LOC/train_cls.txt", lines.encode())])
    named = []
    for split, file, stray in (
        ("train", "n01440764_3.JPEG", "n01440764_99.JPEG"),
        ("val", "ILSVRC2012_val_00000005.JPEG", "copy of it.JPEG"),
    ):
        folder = data / "imagenet" / split / "n01440764"
        (folder / file).rename(folder / stray)
        named += [] if split == "train" and place == "alone" else [file, stray]
    refused(miniature.release, source, data, "1 missing:", "1 not of the published ones:", *named)


def test_a_name_that_no_training_image_has_is_told_without_any_list(
    tmp_path: Path, miniatures: dict[str, Miniature]
) -> None:
    miniature, folder = miniatures["imagenet"], tmp_path / "imagenet/train/n01440764"
    official_archives.write_all(tmp_path, miniature.content.items())
    (folder / "n01440764_3.JPEG").rename(folder / "copy of it.JPEG")
    refused(miniature.release, tmp_path, tmp_path, "n01440764/copy of it.JPEG")


def test_a_split_that_is_not_there(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    miniature = miniatures["imagenet"]
    files = [item for item in miniature.content.items() if "/val/" not in item[0]]
    official_archives.write_all(tmp_path, files)
    val = str(tmp_path / "imagenet/val")
    refused(miniature.release, source, tmp_path, f"no folder {val}", "with the archives")


def test_more_than_was_published(tmp_path: Path, miniatures: dict[str, Miniature]) -> None:
    miniature = miniatures["ade20k"]
    extra = "ADEChallengeData2016/images/training/mine.jpg"
    official_archives.write_all(tmp_path, {**miniature.content, extra: b""}.items())
    refused(miniature.release, tmp_path, tmp_path, "not of the published ones", "mine.jpg")


def kaggle(folder: Path, miniature: Miniature) -> None:
    """As Kaggle's competition unpacks, with its lists."""
    rows = ["ImageId,PredictionString"]
    for name, data in miniature.content.items():
        _, split, wnid, file = name.split("/")
        place = f"train/{wnid}/{file}" if split == "train" else f"val/{file}"
        official_archives.write_all(folder / "ILSVRC/Data/CLS-LOC", [(place, data)])
        if split == "val":
            rows.append(f"{Path(file).stem},{wnid} 1 2 30 40 {wnid} 5 6 7 8")
    (folder / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    train = (n for n in miniature.content if "/train/" in n)
    lines = (f"{n.removeprefix('imagenet/train/')[:-5]} {i}\n" for i, n in enumerate(train, 1))
    official_archives.write_all(
        folder / "ILSVRC/ImageSets/CLS-LOC", [("train_cls.txt", "".join(lines).encode())]
    )


def test_kaggles_layout(tmp_path: Path, miniatures: dict[str, Miniature]) -> None:
    miniature, folder = miniatures["imagenet"], tmp_path / "kaggle"
    kaggle(folder, miniature)
    before = tree_of(folder)
    for place in (folder, folder / "ILSVRC", folder / "ILSVRC/Data/CLS-LOC"):
        target = tmp_path / f"data{len(place.parts)}"
        prepare_data(miniature.release, place, target)
        assert tree_of(target) == miniature.content
    assert tree_of(folder) == before

    (folder / "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_3.JPEG").unlink()
    refused(miniature.release, folder, tmp_path / "new", "n01440764/n01440764_3.JPEG")
    (folder / "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000004.JPEG").unlink()
    refused(miniature.release, folder, tmp_path / "new", "ILSVRC2012_val_00000004.JPEG")
    assert not (tmp_path / "new/imagenet").exists()


def test_validation_images_in_one_folder(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature]
) -> None:
    miniature, folder = miniatures["imagenet"], tmp_path / "flat"
    kaggle(folder, miniature)
    tree = folder / "ILSVRC/Data/CLS-LOC"
    (folder / "LOC_val_solution.csv").unlink()
    refused(miniature.release, tree, tmp_path / "data", "ILSVRC2012_devkit_t12", "LOC_val_solution")
    with tarfile.open(source / "ILSVRC2012_devkit_t12.tar.gz") as tar:
        tar.extractall(tree, filter="data")
    prepare_data(miniature.release, tree, tmp_path / "data")
    assert tree_of(tmp_path / "data") == miniature.content

    there = tmp_path / "there/imagenet"
    there.parent.mkdir()
    tree.rename(there)
    refused(miniature.release, source, there.parent, f"rename {there}", f"--from {there}-flat")
    there.rename(renamed := there.with_name("imagenet-flat"))
    prepare_data(miniature.release, renamed, there.parent)
    assert tree_of(there) == {n.partition("/")[2]: d for n, d in miniature.content.items()}


def test_a_devkit_that_names_no_class(
    tmp_path: Path, source: Path, miniatures: dict[str, Miniature], monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 is the number of an inner node."""
    monkeypatch.setattr(official_archives, "TRUTH", [3, 1, 4])
    miniature = miniatures["imagenet"]
    made = {"data/meta.mat": official_archives.meta_mat()}
    made["data/ILSVRC2012_validation_ground_truth.txt"] = b"3\n1\n4\n"
    devkit = {f"ILSVRC2012_devkit_t12/{name}": data for name, data in made.items()}
    archives = {
        **miniature.archives,
        "ILSVRC2012_devkit_t12.tar.gz": official_archives.tar_of(devkit),
    }
    official_archives.write_all(source, archives.items())
    release = official_archives.released(miniature.release, archives)
    refused(release, source, tmp_path / "data", "validation_ground_truth.txt, line 3", "'4'")


_KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from benchmarks.official import unpacking
from benchmarks.official.prepare_data import prepare_data
release, source, target, name, calls = pickle.load(sys.stdin.buffer)
os.sync = lambda: None
module, left = (unpacking, calls) if name != "rename" else (Path, calls)
real = getattr(module, name)
def counted(*given, **named):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return real(*given, **named)
setattr(module, name, counted)
prepare_data(release, source, target)
"""


@pytest.mark.parametrize(
    ("dataset", "name", "calls", "kept"),
    [
        pytest.param("imagenet", "extract_member", 1, "tree/train/n01440764", id="in a class"),
        pytest.param(
            "voc",
            "extract",
            2,
            "VOCtest_06-Nov-2007.tar",
            id="in an archive",
            marks=pytest.mark.slow,
        ),
        pytest.param("voc", "rename", 10, "tree/VOCdevkit/VOC2007", id="while merging"),
    ],
)
def test_killed_and_gone_on(
    tmp_path: Path,
    source: Path,
    miniatures: dict[str, Miniature],
    dataset: str,
    name: str,
    calls: int,
    kept: str,
) -> None:
    miniature, target = miniatures[dataset], tmp_path / "data"
    done = subprocess.run(
        [sys.executable, "-c", _KILLED],
        input=pickle.dumps((miniature.release, source, target, name, calls)),
        capture_output=True,
        cwd=ROOT,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    final = target / miniature.release.folder
    assert not final.exists()
    # The next call finds it whole and does not unpack it again.
    whole = target / f"{final.name}.partial" / kept
    before = {path.stat().st_ino for path in whole.rglob("*") if path.is_file()}
    assert before
    prepare_data(miniature.release, source, target)
    assert tree_of(target) == miniature.content
    assert before <= {path.stat().st_ino for path in final.rglob("*")}


def test_the_command(
    tmp_path: Path,
    source: Path,
    miniatures: dict[str, Miniature],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "my data"
    for dataset in DATASETS:
        monkeypatch.setitem(RELEASES, dataset, miniatures[dataset].release)
        code = trickle(["prepare", dataset, "--from", str(source), "--to", str(target)])
        assert code == 0
        out, err = capsys.readouterr()
        assert str(target / miniatures[dataset].release.folder) in out
        assert ("no published checksum is known" in err) == (dataset == "ade20k")
        if dataset == "imagenet":
            assert f"trickle prepare voc --from DIR --to '{target}'" in out
    assert f"TRICKLE_DATA='{target}' trickle run --benchmark paper" in out
    nowhere = str(tmp_path / "nowhere")
    assert trickle(["prepare", "voc", "--from", nowhere, "--to", str(target)]) == 2
    assert f"no folder {nowhere}" in capsys.readouterr().err
