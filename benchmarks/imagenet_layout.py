"""The ImageNet layout: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.dataset_files import DatasetFiles, Finding, Sample, StageData, require_folder
from benchmarks.errors import DataError
from benchmarks.file_index import (
    LAYOUT,
    FileIndex,
    ImageSamples,
    file_index,
    sizes_and_times,
)
from benchmarks.image_files import check_image

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class ImageNetIndex:
    """One split, sorted by class and by name.

    classes: the names of the class folders; samples: (path, label), a label being a position in
    `classes`.
    """

    classes: tuple[str, ...]
    samples: ImageSamples


def read_index(root: Path, split: str, *, left_out: Collection[str] = ()) -> ImageNetIndex:
    """List `train` or `val`, without the images named in `left_out` (relative to the root).

    Raises DataError: a folder is missing or holds no images.
    """
    index = _index(root, split)
    left = index.positions(_below(split, left_out))
    return ImageNetIndex(classes=index.classes, samples=ImageSamples(root / split, index, left))


def stage_data(root: Path) -> StageData:
    """The images of both splits; the labels are in the paths, so that there are no annotations.

    Raises DataError as `read_index` does, and for a class that only one of the splits has.
    """
    listed = {split: _index(root, split) for split in SPLITS}
    for split, other in (("val", "train"), ("train", "val")):
        extra = sorted(set(listed[split].classes) - set(listed[other].classes))
        if extra:
            raise DataError(
                f"{root / split / extra[0]} is a class that {root / other} does not have; "
                "both must have the same class folders"
            )
    return StageData(
        files=ImageNetFiles(root=root, samples=SplitSamples(listed)),
        unit="images",
        test="val",
        classes=listed["train"].classes,
        inspect=partial(_inspect, root),
        conclude=partial(_conclude, root, listed["train"].classes),
    )


class SplitSamples(Collection[Sample]):
    """The images of all splits as `Sample`s, made when they are asked for."""

    def __init__(self, splits: Mapping[str, FileIndex], left_out: Collection[str] = ()) -> None:
        self.splits, self.left_out = splits, frozenset(left_out)
        left = (len(index.positions(_below(s, self.left_out))) for s, index in splits.items())
        self._count = sum(map(len, splits.values())) - sum(left)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, sample: object) -> bool:
        if not isinstance(sample, Sample) or sample.image in self.left_out:
            return False
        index = self.splits.get(sample.split)
        return index is not None and len(index.positions(_below(sample.split, [sample.image]))) > 0

    def __iter__(self) -> Iterator[Sample]:
        for split, files in self.splits.items():
            for image in _images(split, files, range(len(files.classes))):
                if image not in self.left_out:
                    yield Sample(split=split, image=image)

    def sorted_images(self) -> Iterator[str]:
        """Paths below the root in the order of their characters."""
        for split, files in sorted(self.splits.items()):
            # "a-b/" comes before "a/", "a" before "a-b".
            labels = sorted(range(len(files.classes)), key=lambda at: f"{files.classes[at]}/")
            for image in _images(split, files, labels):
                if image not in self.left_out:
                    yield image


@dataclass(frozen=True, kw_only=True)
class ImageNetFiles(DatasetFiles):
    """As many files as ImageNet has, without an object for each."""

    samples: SplitSamples

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset()

    def names(self) -> Iterator[str]:
        return self.samples.sorted_images()

    def without(self, images: Iterable[str]) -> ImageNetFiles:
        left = self.samples.left_out.union(images)
        return ImageNetFiles(root=self.root, samples=SplitSamples(self.samples.splits, left))

    def fingerprint(self) -> str:
        summary = hashlib.sha256(str(self.root).encode())
        for split, index in self.samples.splits.items():
            summary.update(f"\n{split}\t{sizes_and_times(self.root / split, index)}".encode())
        return summary.hexdigest()


def _inspect(root: Path, sample: Sample) -> Finding:
    check_image(root / sample.image)
    return Finding(counts={sample.image.split("/")[1]: 1})


def _conclude(
    root: Path, classes: tuple[str, ...], found: Iterable[tuple[Sample, Finding]]
) -> tuple[str, ...]:
    """DataError for a class that has lost its last image. No warnings."""
    left = {(sample.split, name) for sample, finding in found for name in finding.counts}
    for split in SPLITS:
        for name in classes:
            if (split, name) not in left:
                raise DataError(f"no usable image is left in {root / split / name}")
    return ()


def _index(root: Path, split: str) -> FileIndex:
    require_folder(root, f"a data set in the ImageNet layout: {LAYOUT}")
    return file_index(root / split)


def _images(split: str, index: FileIndex, labels: Iterable[int]) -> Iterator[str]:
    """Paths below the root, class by class."""
    for label in labels:
        folder = f"{split}/{index.classes[label]}"
        for name in index.names[slice(*index.span(label))]:
            yield f"{folder}/{name}"


def _below(split: str, images: Iterable[str]) -> list[str]:
    """`<class>/<file>` of those of a split."""
    start = f"{split}/"
    return [image.removeprefix(start) for image in images if image.startswith(start)]
