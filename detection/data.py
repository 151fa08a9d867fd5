"""The data for the detector, through MMDetection's data set and transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.dataset import ConcatDataset, pseudo_collate
from torch.utils.data import DataLoader

from benchmarks import coco_layout
from benchmarks.coco_layout import COCOImage
from benchmarks.loading import LoadPixels
from benchmarks.schema import DetectionBudget
from benchmarks.voc_layout import VOCImage, read_split
from engine.equal_sizes import whole_image_loader
from engine.loaders import train_loader
from engine.randomness import KeyedDataset
from engine.scopes import prefix_types
from engine.second_test import view_transforms

_META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


TRANSFORMS.register_module(module=LoadPixels, force=True)


@DATASETS.register_module(force=True)
class VOCBoxes(BaseDetDataset):
    """What benchmarks/voc_layout.py reads, in MMDetection's terms.

    Corners become 0-based integers, as in MMDetection's VOCDataset; boxes without an area, whose
    regression targets would be infinite, are left out. smallest: training boxes with a side below
    this many pixels are ignored, as difficult ones are, and images without boxes left out.
    """

    def __init__(
        self, *, root: Path, split: str, smallest: int, left_out: tuple[str, ...], **options: Any
    ) -> None:
        self.root, self.split, self.smallest = root, split, smallest
        self.left_out = frozenset(left_out)
        super().__init__(**options)

    def load_data_list(self) -> list[dict[str, Any]]:
        classes = self._metainfo["classes"]
        images = read_split(self.root, self.split, classes, left_out=self.left_out)
        return [self._data_info(image, classes) for image in images]

    def filter_data(self) -> list[dict[str, Any]]:
        return [info for info in self.data_list if self.test_mode or info["instances"]]

    def _data_info(self, image: VOCImage, classes: tuple[str, ...]) -> dict[str, Any]:
        instances = []
        for item in image.objects:
            x1, y1, x2, y2 = (int(side) - 1 for side in (item.x1, item.y1, item.x2, item.y2))
            width, height = x2 - x1, y2 - y1
            if width and height:
                small = not self.test_mode and min(width, height) < self.smallest
                instances.append(
                    dict(
                        bbox=[x1, y1, x2, y2],
                        bbox_label=classes.index(item.name),
                        ignore_flag=int(item.difficult or small),
                    )
                )
        return dict(
            img_id=image.image_id,
            img_path=str(self.root / image.image),
            width=image.width,
            height=image.height,
            instances=instances,
        )


@DATASETS.register_module(force=True)
class COCOBoxes(BaseDetDataset):
    """What benchmarks/coco_layout.py reads, in MMDetection's terms.

    As in its CocoDataset, crowds are ignored and boxes below a pixel or outside the image are not
    learnt; in a test all are there, as its CocoMetric has them. smallest and left_out: as in
    VOCBoxes.
    """

    def __init__(
        self, *, root: Path, split: str, smallest: int, left_out: tuple[str, ...], **options: Any
    ) -> None:
        self.root, self.split, self.smallest = root, split, smallest
        self.left_out = frozenset(left_out)
        super().__init__(**options)

    def load_data_list(self) -> list[dict[str, Any]]:
        classes = self._metainfo["classes"]
        images = coco_layout.read_split(self.root, self.split, classes, left_out=self.left_out)
        return [self._data_info(image) for image in images]

    def filter_data(self) -> list[dict[str, Any]]:
        return [info for info in self.data_list if self.test_mode or info["instances"]]

    def _data_info(self, image: COCOImage) -> dict[str, Any]:
        boxes, labels, ignored = image.boxes, image.labels, image.crowd
        if not self.test_mode:
            kept = image.learnable
            boxes, labels, ignored = boxes[kept], labels[kept], ignored[kept]
            ignored = ignored | ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < self.smallest)
        columns = zip(boxes.tolist(), labels.tolist(), ignored.astype(int).tolist(), strict=True)
        return dict(
            img_id=image.name,
            img_path=str(self.root / self.split / image.name),
            width=image.width,
            height=image.height,
            instances=[
                dict(bbox=box, bbox_label=label, ignore_flag=flag) for box, label, flag in columns
            ],
        )


def _dataset(
    budget: DetectionBudget, split: str, pipeline: list[dict[str, Any]], *, training: bool
) -> Any:
    config = dict(
        type="COCOBoxes" if budget.layout == "coco" else "VOCBoxes",
        root=budget.root,
        split=split,
        smallest=budget.bbox_min_size,
        left_out=budget.left_out,
        metainfo=dict(classes=budget.classes),
        test_mode=not training,
        pipeline=pipeline,
    )
    return DATASETS.build(prefix_types(config, "mmdet"))


def _resize(budget: DetectionBudget, interpolation: str) -> dict[str, Any]:
    return dict(
        type="Resize",
        scale=tuple(budget.image_size),
        keep_ratio=budget.keep_ratio,
        interpolation=interpolation,
    )


def training_data(budget: DetectionBudget, *, interpolation: str, seed: int) -> DataLoader[Any]:
    """Endless batches of the training splits, flipped at random."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadPixels"),
        dict(type="LoadAnnotations", with_bbox=True),
        _resize(budget, interpolation),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackDetInputs"),
    ]
    splits = [_dataset(budget, split, pipeline, training=True) for split in budget.train]
    whole = ConcatDataset(splits) if len(splits) > 1 else splits[0]
    return train_loader(
        KeyedDataset(whole, seed=seed),
        batch_size=budget.batch_size,
        seed=seed,
        workers=budget.workers,
        collate=pseudo_collate,
    )


def test_data(budget: DetectionBudget, *, interpolation: str) -> DataLoader[Any]:
    """Every test image once; only those of one size together, so that no padding depends on its
    neighbours."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadPixels"),
        _resize(budget, interpolation),
        dict(type="LoadAnnotations", with_bbox=True),
        dict(type="PackDetInputs", meta_keys=_META_KEYS),
    ]
    return _tested(budget, pipeline)


def views_data(budget: DetectionBudget, *, interpolation: str) -> DataLoader[Any]:
    """As test_data, but all views of each image, for a `DetTTAModel`."""
    views = view_transforms(
        image_size=budget.image_size,
        scales=budget.view_scales,
        flips=budget.view_flips,
        keep_ratio=budget.keep_ratio,
        interpolation=interpolation,
        last=[
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackDetInputs", meta_keys=(*_META_KEYS, "flip", "flip_direction")),
        ],
    )
    return _tested(budget, [dict(type="LoadPixels"), views])


def _tested(budget: DetectionBudget, pipeline: list[dict[str, Any]]) -> DataLoader[Any]:
    dataset = _dataset(budget, budget.test, pipeline, training=False)

    def size_of(index: int) -> tuple[int, int]:
        info = dataset.get_data_info(index)
        return info["width"], info["height"]

    return whole_image_loader(
        dataset,
        size_of=size_of,
        most=budget.batch_size,
        workers=min(1, budget.workers),
        collate=pseudo_collate,
    )
