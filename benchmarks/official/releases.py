"""Which archives a data set was published as, and how much a whole one holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Archive:
    """name: of its file; md5: as published, None where none is known; source: where it is from."""

    name: str
    md5: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """A data set as it was published.

    folder: its name below TRICKLE_DATA in paper.toml. counts: images by split. classes: class
    folders of each split, None where classes are no folders.
    """

    dataset: str
    title: str
    folder: str
    archives: tuple[Archive, ...]
    counts: Mapping[str, int]
    classes: int | None = None


_IMAGENET = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php (with an account)"
_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"

# Checksums of ImageNet and Pascal VOC: as torchvision.datasets has them (imagenet.py, voc.py).
IMAGENET = Release(
    dataset="imagenet",
    title="ImageNet (ILSVRC 2012)",
    folder="imagenet",
    archives=(
        Archive(
            name="ILSVRC2012_img_train.tar",
            md5="1d675b47d978889d74fa0da5fadfb00e",
            source=_IMAGENET,
        ),
        Archive(
            name="ILSVRC2012_img_val.tar",
            md5="29b22e2961454d5413ddabcf34fc5622",
            source=_IMAGENET,
        ),
        Archive(
            name="ILSVRC2012_devkit_t12.tar.gz",
            md5="fa75699e90414af021442c21a62c3abf",
            source=_IMAGENET,
        ),
    ),
    counts={"train": 1_281_167, "val": 50_000},
    classes=1000,
)
"""archives: training images, validation images, development kit, in this order."""

VOC = Release(
    dataset="voc",
    title="Pascal VOC 2007 and 2012",
    folder="VOCdevkit",
    archives=(
        Archive(
            name="VOCtrainval_06-Nov-2007.tar",
            md5="c52e279531787c972589f7e41ab4ae64",
            source=f"{_VOC}/voc2007/",
        ),
        Archive(
            name="VOCtest_06-Nov-2007.tar",
            md5="b6e924de25625d8de591ea690078ad9f",
            source=f"{_VOC}/voc2007/",
        ),
        Archive(
            name="VOCtrainval_11-May-2012.tar",
            md5="6cd6e144f989b92b3379bac3b3de84fd",
            source=f"{_VOC}/voc2012/",
        ),
    ),
    counts={"VOC2007/trainval": 5011, "VOC2012/trainval": 11_540, "VOC2007/test": 4952},
)

ADE20K = Release(
    dataset="ade20k",
    title="ADE20K (scene parsing benchmark 2016)",
    folder="ADEChallengeData2016",
    archives=(
        Archive(
            name="ADEChallengeData2016.zip",
            md5=None,
            source="http://sceneparsing.csail.mit.edu/",
        ),
    ),
    counts={"training": 20_210, "validation": 2000},
)

RELEASES = {release.dataset: release for release in (IMAGENET, VOC, ADE20K)}
