"""Miniatures of the official archives: their structure, names and formats, with a few images."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.io import savemat

from benchmarks.official.releases import ADE20K, IMAGENET, VOC, Release

WNIDS = {"blue": "n01440764", "green": "n01443537", "red": "n01484850"}
INNER_NODE = "n00001740"
NUMBERS = {"n01443537": 1, "n01484850": 2, "n01440764": 3}
"""ILSVRC's own, which are in another order than the WordNet ids."""
TRUTH = [3, 1, 2, 2, 3, 1, 1, 2, 3]
"""Of the validation images, as the devkit's list says it."""


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar as GNU tar writes it, its folders first."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted({f"{p}" for name in files for p in Path(name).parents if p.name}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


def meta_mat() -> bytes:
    """data/meta.mat: the classes first, then an inner node of WordNet."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children",
              "wordnet_height", "num_train_images"]  # fmt: skip
    synsets = np.empty((len(NUMBERS) + 1, 1), dtype=[(field, object) for field in fields])
    for row, (wnid, number) in enumerate([*NUMBERS.items(), (INNER_NODE, len(NUMBERS) + 1)]):
        children = np.array([1, 2, 3]) if wnid == INNER_NODE else np.zeros((1, 0))
        of_children = 3 if wnid == INNER_NODE else 0
        synsets[row, 0] = (number, wnid, f"a {wnid}", "gloss", of_children, children, 0, 8)
    file = io.BytesIO()
    savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def imagenet(tree: Path) -> tuple[dict[str, bytes], Release, dict[str, dict[str, bytes]]]:
    """(archives by name, release, {"train" | "val": content by <wnid>/<file>})."""
    train: dict[str, bytes] = {}
    inner: dict[str, bytes] = {}
    for name, wnid in sorted(WNIDS.items(), key=lambda item: item[1]):
        images = {f"{wnid}_{i}.JPEG": f.read_bytes() for i, f in files_of(tree / "train" / name)}
        inner[f"{wnid}.tar"] = tar_of(images)
        train |= {f"{wnid}/{image}": data for image, data in images.items()}
    wnid_of = {number: wnid for wnid, number in NUMBERS.items()}
    name_of = {wnid: name for name, wnid in WNIDS.items()}
    flat: dict[str, bytes] = {}
    val: dict[str, bytes] = {}
    for place, number in enumerate(TRUTH, 1):
        wnid, file = wnid_of[number], f"ILSVRC2012_val_{place:08d}.JPEG"
        nth = TRUTH[: place - 1].count(number)
        flat[file] = (tree / "val" / name_of[wnid] / f"{nth}.jpg").read_bytes()
        val[f"{wnid}/{file}"] = flat[file]
    truth = "".join(f"{number}\n" for number in TRUTH).encode()
    devkit = {"readme.txt": b"", "data/meta.mat": meta_mat()}
    devkit["data/ILSVRC2012_validation_ground_truth.txt"] = truth
    devkit = {f"ILSVRC2012_devkit_t12/{name}": data for name, data in devkit.items()}
    archives = {
        "ILSVRC2012_img_train.tar": tar_of(inner),
        "ILSVRC2012_img_val.tar": tar_of(flat),
        "ILSVRC2012_devkit_t12.tar.gz": gzip.compress(tar_of(devkit)),
    }
    release = replace(IMAGENET, counts={"train": len(train), "val": len(val)}, classes=len(WNIDS))
    return archives, released(release, archives), {"train": train, "val": val}


def voc(year: Path) -> tuple[dict[str, bytes], Release, dict[str, bytes]]:
    """(archives, release, content by name); 2012's images are 2007's under other names."""
    parts: dict[str, dict[str, bytes]] = {}
    for archive, folder, split in (
        ("VOCtrainval_06-Nov-2007.tar", "VOC2007", "trainval"),
        ("VOCtest_06-Nov-2007.tar", "VOC2007", "test"),
        ("VOCtrainval_11-May-2012.tar", "VOC2012", "trainval"),
    ):
        ids = (year / "ImageSets/Main" / f"{split}.txt").read_text().split()
        start = "2012_" if folder == "VOC2012" else ""
        part = {f"ImageSets/Main/{split}.txt": "".join(f"{start}{i}\n" for i in ids).encode()}
        for name in ids:
            for kind, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
                file = year / kind / f"{name}{suffix}"
                part[f"{kind}/{start}{name}{suffix}"] = file.read_bytes()
        parts[archive] = {f"VOCdevkit/{folder}/{name}": data for name, data in part.items()}
    archives = {name: tar_of(part) for name, part in parts.items()}
    counts = {"VOC2007/trainval": 10, "VOC2012/trainval": 10, "VOC2007/test": 5}
    content = {name: data for part in parts.values() for name, data in part.items()}
    return archives, released(replace(VOC, counts=counts), archives), content


def ade20k(tree: Path) -> tuple[dict[str, bytes], Release, dict[str, bytes]]:
    """(archives, release, content by name)."""
    content = {"objectInfo150.txt": b"Idx\n", "sceneCategories.txt": b"ADE_train_00000001 misc\n"}
    counts = {}
    for split, start in (("training", "ADE_train"), ("validation", "ADE_val")):
        images = files_of(tree / "images" / split)
        counts[split] = len(images)
        for number, (_, image) in enumerate(images, 1):
            stem = f"{start}_{number:08d}"
            mask = tree / "annotations" / split / f"{image.stem}.png"
            content[f"images/{split}/{stem}.jpg"] = image.read_bytes()
            content[f"annotations/{split}/{stem}.png"] = mask.read_bytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for folder in ("", "images/", "annotations/"):
            packed.mkdir(f"ADEChallengeData2016/{folder}")
        for name, data in content.items():
            packed.writestr(f"ADEChallengeData2016/{name}", data)
    archives = {"ADEChallengeData2016.zip": file.getvalue()}
    content = {f"ADEChallengeData2016/{name}": data for name, data in content.items()}
    return archives, replace(ADE20K, counts=counts), content


def released(release: Release, archives: Mapping[str, bytes]) -> Release:
    """The release with the checksums of these archives."""
    known = (
        replace(archive, md5=hashlib.md5(archives[archive.name]).hexdigest())
        for archive in release.archives
    )
    return replace(release, archives=tuple(known))


def files_of(folder: Path) -> list[tuple[str, Path]]:
    """(stem, file), sorted."""
    return [(file.stem, file) for file in sorted(folder.iterdir())]


def write_all(folder: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Each content as a file below `folder`."""
    for name, data in contents:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
