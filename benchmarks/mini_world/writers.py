"""Rendered images written in the layouts of ImageNet, Pascal VOC and ADE20K."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.mini_world.boxes import Box, scene_boxes
from benchmarks.mini_world.kinds import CLASSES
from benchmarks.mini_world.scenes import Scene, render_scene
from benchmarks.world_spec import TaskCounts, WorldSpec

IMAGENET, VOC, ADE20K = "imagenet", "VOCdevkit", "ADEChallengeData2016"
VOC_YEAR = "VOC2007"
SPLITS = {
    "pretraining": ("train", "val"),
    "detection": ("trainval", "test"),
    "segmentation": ("training", "validation"),
}
"""The names of the training and the test split in each task's layout."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of one split: the images `start` to `stop - 1`. test: 0 is training, 1 test."""

    task: str
    test: int
    start: int
    stop: int


def render_part(spec: WorldSpec, part: Part, directory: Path) -> int:
    """Render and write a part into folders that exist; returns how many images that were."""
    cv2.setNumThreads(1)  # processes share the cores already
    write = {"pretraining": _write_labelled, "detection": _write_voc, "segmentation": _write_ade}
    split = SPLITS[part.task][part.test]
    for index in range(part.start, part.stop):
        rng = image_rng(spec, part.task, part.test, index)
        label = index % len(CLASSES) if part.task == "pretraining" else None
        counts: TaskCounts = getattr(spec, part.task)
        scene = render_scene(counts, spec.difficulty, rng, label=label)
        quality = int(rng.integers(80, 96))
        write[part.task](directory, split, index, scene, _jpeg(scene.image, quality))
    return part.stop - part.start


def image_rng(spec: WorldSpec, task: str, test: int, index: int) -> np.random.Generator:
    """The generator of one image: nothing else is drawn from it."""
    return np.random.default_rng([spec.seed, list(SPLITS).index(task), test, index])


def make_folders(directory: Path) -> None:
    """The folders that `render_part` writes to."""
    for split in SPLITS["pretraining"]:
        for name in CLASSES:
            (directory / IMAGENET / split / name).mkdir(parents=True)
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (directory / VOC / VOC_YEAR / folder).mkdir(parents=True)
    for split in SPLITS["segmentation"]:
        for folder in ("images", "annotations"):
            (directory / ADE20K / folder / split).mkdir(parents=True)


def write_image_sets(spec: WorldSpec, directory: Path) -> None:
    """The lists of the detection splits."""
    for test, count in enumerate((spec.detection.train, spec.detection.test)):
        file = (
            directory / VOC / VOC_YEAR / "ImageSets" / "Main" / f"{SPLITS['detection'][test]}.txt"
        )
        names = [_voc_id(SPLITS["detection"][test], index) for index in range(count)]
        file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _write_labelled(directory: Path, split: str, index: int, scene: Scene, jpeg: bytes) -> None:
    name = CLASSES[index % len(CLASSES)]
    (directory / IMAGENET / split / name / f"{name}_{index:06d}.JPEG").write_bytes(jpeg)


def _write_voc(directory: Path, split: str, index: int, scene: Scene, jpeg: bytes) -> None:
    name = _voc_id(split, index)
    root = directory / VOC / VOC_YEAR
    (root / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg)
    height, width = scene.ids.shape
    text = _voc_xml(name, width, height, scene_boxes(scene))
    (root / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")


def _write_ade(directory: Path, split: str, index: int, scene: Scene, jpeg: bytes) -> None:
    name = f"mini_{'train' if split == 'training' else 'val'}_{index:06d}"
    root = directory / ADE20K
    (root / "images" / split / f"{name}.jpg").write_bytes(jpeg)
    (root / "annotations" / split / f"{name}.png").write_bytes(_png(class_indices(scene)))


def class_indices(scene: Scene) -> npt.NDArray[np.uint8]:
    """(H, W): 0 = other, 1..10 = the classes in their order."""
    labels = [0, *(item.label + 1 for item in scene.objects)]
    return np.array(labels, np.uint8)[scene.ids]


def _voc_id(split: str, index: int) -> str:
    return f"{1 if split == 'test' else 0}{index:05d}"


def _voc_xml(name: str, width: int, height: int, boxes: tuple[Box, ...]) -> str:
    objects = "".join(_voc_object(box) for box in boxes)
    return (
        "<annotation>\n"
        f"\t<folder>{VOC_YEAR}</folder>\n"
        f"\t<filename>{name}.jpg</filename>\n"
        "\t<source><database>Trickle's mini world</database></source>\n"
        f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        "\t<segmented>0</segmented>\n"
        f"{objects}</annotation>\n"
    )


def _voc_object(box: Box) -> str:
    return (
        "\t<object>\n"
        f"\t\t<name>{escape(CLASSES[box.label])}</name>\n"
        "\t\t<pose>Unspecified</pose>\n"
        f"\t\t<truncated>{box.truncated:d}</truncated>\n"
        f"\t\t<occluded>{box.occluded:d}</occluded>\n"
        f"\t\t<difficult>{box.difficult:d}</difficult>\n"
        f"\t\t<bndbox><xmin>{box.x1}</xmin><ymin>{box.y1}</ymin>"
        f"<xmax>{box.x2}</xmax><ymax>{box.y2}</ymax></bndbox>\n"
        "\t</object>\n"
    )


def _jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    return _encode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    return _encode(".png", image, [])


def _encode(suffix: str, image: npt.NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image), options)
    assert done, f"OpenCV cannot encode {suffix}"
    return data.tobytes()
