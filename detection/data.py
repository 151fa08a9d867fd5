"""Pascal VOC data for the detector, through MMDetection's data set and transforms."""

from __future__ import annotations

from typing import Any

from mmdet.datasets import VOCDataset
from mmdet.registry import DATASETS
from mmengine.dataset import ConcatDataset, pseudo_collate
from torch.utils.data import DataLoader

from benchmarks.schema import DetectionBudget
from engine.randomness import KeyedDataset
from engine.runner import train_loader
from engine.scopes import prefix_types

_META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


@DATASETS.register_module(force=True)
class VOCBoxes(VOCDataset):
    """VOCDataset without boxes that have no area, whose regression targets would be infinite."""

    def _parse_instance_info(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        instances = super()._parse_instance_info(*args, **kwargs)
        return [
            instance
            for instance in instances
            if instance["bbox"][2] > instance["bbox"][0]
            and instance["bbox"][3] > instance["bbox"][1]
        ]


def _dataset(
    budget: DetectionBudget, split: str, pipeline: list[dict[str, Any]], *, training: bool
) -> Any:
    year, _, image_set = split.partition("/")
    config = dict(
        type="VOCBoxes",
        data_root=f"{budget.root}/",
        ann_file=f"{year}/ImageSets/Main/{image_set}.txt",
        data_prefix=dict(sub_data_root=f"{year}/"),
        metainfo=dict(classes=budget.classes, palette=None),
        test_mode=not training,
        pipeline=pipeline,
    )
    if training:
        config["filter_cfg"] = dict(filter_empty_gt=True, bbox_min_size=budget.bbox_min_size)
    return DATASETS.build(prefix_types(config, "mmdet"))


def _resize(budget: DetectionBudget, interpolation: str) -> dict[str, Any]:
    return dict(
        type="Resize",
        scale=tuple(budget.image_size),
        keep_ratio=budget.keep_ratio,
        interpolation=interpolation,
    )


def training_data(budget: DetectionBudget, *, interpolation: str, seed: int) -> DataLoader:
    """Endless batches of the training splits, flipped at random."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True),
        _resize(budget, interpolation),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackDetInputs"),
    ]
    splits = [_dataset(budget, split, pipeline, training=True) for split in budget.train]
    whole = ConcatDataset(splits, ignore_keys=["dataset_type"]) if len(splits) > 1 else splits[0]
    return train_loader(
        KeyedDataset(whole, seed=seed),
        batch_size=budget.batch_size,
        seed=seed,
        workers=budget.workers,
        collate=pseudo_collate,
    )


def test_data(budget: DetectionBudget, *, interpolation: str) -> DataLoader:
    """Every test image once, one at a time, so that no padding depends on its neighbours."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadImageFromFile"),
        _resize(budget, interpolation),
        dict(type="LoadAnnotations", with_bbox=True),
        dict(type="PackDetInputs", meta_keys=_META_KEYS),
    ]
    dataset = _dataset(budget, budget.test, pipeline, training=False)
    return DataLoader(
        dataset, batch_size=1, num_workers=min(1, budget.workers), collate_fn=pseudo_collate
    )
