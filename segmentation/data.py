"""ADE20K-layout data for the segmentor, through MMSegmentation's data set and transforms."""

from __future__ import annotations

from typing import Any

from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from benchmarks.schema import SegmentationBudget
from engine.randomness import KeyedDataset
from engine.runner import train_loader
from engine.scopes import prefix_types


def _dataset(
    budget: SegmentationBudget, split: str, pipeline: list[dict[str, Any]], *, training: bool
) -> Any:
    config = dict(
        type="BaseSegDataset",
        data_root=str(budget.root),
        data_prefix=dict(img_path=f"images/{split}", seg_map_path=f"annotations/{split}"),
        metainfo=dict(classes=budget.classes),
        reduce_zero_label=True,
        test_mode=not training,
        pipeline=pipeline,
    )
    return DATASETS.build(prefix_types(config, "mmseg"))


def training_data(budget: SegmentationBudget, *, interpolation: str, seed: int) -> DataLoader:
    """Endless batches: scaled by 0.5 to 2, cropped, flipped, photometrically distorted."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", reduce_zero_label=True),
        dict(
            type="RandomResize",
            scale=tuple(budget.image_size),
            ratio_range=(0.5, 2.0),
            keep_ratio=True,
            interpolation=interpolation,
        ),
        dict(type="RandomCrop", crop_size=tuple(budget.crop_size[::-1]), cat_max_ratio=0.75),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackSegInputs"),
    ]
    dataset = _dataset(budget, "training", pipeline, training=True)
    return train_loader(
        KeyedDataset(dataset, seed=seed),
        batch_size=budget.batch_size,
        seed=seed,
        workers=budget.workers,
        collate=pseudo_collate,
    )


def test_data(budget: SegmentationBudget, *, interpolation: str) -> DataLoader:
    """Every validation image once, whole; the truth keeps its own size."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadImageFromFile"),
        dict(
            type="Resize",
            scale=tuple(budget.image_size),
            keep_ratio=True,
            interpolation=interpolation,
        ),
        dict(type="LoadAnnotations", reduce_zero_label=True),
        dict(type="PackSegInputs"),
    ]
    dataset = _dataset(budget, "validation", pipeline, training=False)
    return DataLoader(
        dataset, batch_size=1, num_workers=min(1, budget.workers), collate_fn=pseudo_collate
    )
