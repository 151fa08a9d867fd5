"""COCO's keypoints: `<split>/*.jpg` and `annotations/person_keypoints_<split>.json`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from benchmarks.dataset_files import (
    DatasetFiles,
    Finding,
    Sample,
    StageData,
    read_data,
    require_file,
    require_folder,
    require_plain_names,
)
from benchmarks.errors import DataError
from benchmarks.image_files import check_image

LAYOUT = "annotations/person_keypoints_<split>.json and for each split a folder <split>/*.jpg"
MOST_JSON_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Person:
    """image: path below the root. box: x, y, width, height in pixels.

    points: (x, y, visibility) of each keypoint; visibility 0 = not labelled, where x and y are 0.
    """

    image: str
    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float, int], ...]


def read_people(root: Path, split: str, names: tuple[str, ...]) -> tuple[Person, ...]:
    """Everybody with a keypoint, crowds left out, in the order of the file.

    names: of the keypoints. Raises DataError naming the file: missing, not JSON, not in COCO's
    form, or with other keypoints.
    """
    file = root / "annotations" / f"person_keypoints_{split}.json"
    require_file(file, f"a part of {LAYOUT}")
    found = os.stat(file)
    return _read(file, split, names, found.st_size, found.st_mtime_ns)


def stage_data(root: Path, train: str, test: str, names: tuple[str, ...]) -> StageData:
    """The images with people of both splits. Raises DataError as `read_people` does."""
    samples: list[Sample] = []
    for split in (train, test):
        require_folder(root / split, f"a part of {LAYOUT}")
        images = dict.fromkeys(person.image for person in read_people(root, split, names))
        samples += [Sample(split=split, image=image) for image in images]
    lists = tuple(f"annotations/person_keypoints_{split}.json" for split in (train, test))
    return StageData(
        files=DatasetFiles(root=root, samples=tuple(samples), lists=lists),
        unit="keypoints",
        test=test,
        classes=names,
        inspect=partial(_inspect, root, names),
        conclude=partial(_conclude, root, (train, test)),
        question=[names],
    )


@lru_cache(maxsize=4)
def _read(
    file: Path, split: str, names: tuple[str, ...], size: int, mtime_ns: int
) -> tuple[Person, ...]:
    try:
        content = json.loads(read_data(file, most_bytes=MOST_JSON_BYTES))
        (category,) = content["categories"]
        if tuple(category["keypoints"]) != names:
            raise DataError(
                f"{file} has the keypoints {', '.join(category['keypoints'])}, the benchmark names "
                f"{', '.join(names)}"
            )
        images = {image["id"]: f"{split}/{image['file_name']}" for image in content["images"]}
        require_plain_names(images.values(), file)
        people = tuple(
            Person(
                image=images[annotation["image_id"]],
                box=tuple(annotation["bbox"]),
                points=tuple(zip(*(annotation["keypoints"][i::3] for i in range(3)), strict=True)),
            )
            for annotation in content["annotations"]
            if annotation["num_keypoints"] and not annotation["iscrowd"]
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is not in COCO's form: {error!r}") from error
    if any(len(person.points) != len(names) or len(person.box) != 4 for person in people):
        raise DataError(f"{file}: somebody has no {len(names)} keypoints, or no box")
    return people


def _inspect(root: Path, names: tuple[str, ...], sample: Sample) -> Finding:
    """The image is whole, and the labelled keypoints lie inside it."""
    if not (root / sample.image).exists():
        raise DataError(f"no image {root / sample.image}, which its split's annotations name")
    width, height = check_image(root / sample.image).shown
    counts: Counter[str] = Counter()
    for person in read_people(root, sample.split, names):
        if person.image != sample.image:
            continue
        for name, (x, y, visibility) in zip(names, person.points, strict=True):
            if visibility and not (0 <= x <= width and 0 <= y <= height):
                raise DataError(
                    f"{root / sample.image}: {name} at ({x:g}, {y:g}) lies outside of "
                    f"{width}x{height} pixels"
                )
            counts[name] += bool(visibility)
    return Finding(counts=dict(+counts))


def _conclude(
    root: Path, splits: tuple[str, ...], found: Iterable[tuple[Sample, Finding]]
) -> tuple[str, ...]:
    with_people = {sample.split for sample, finding in found if finding.counts}
    if empty := [split for split in splits if split not in with_people]:
        raise DataError(f"{root}: nobody in {' and '.join(empty)} has a keypoint")
    return ()
