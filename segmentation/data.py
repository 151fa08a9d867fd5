"""The data for the segmentor, through MMSegmentation's data set and transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS
from torch.utils.data import DataLoader

from benchmarks.errors import DataError
from benchmarks.image_files import check_image
from benchmarks.labelled_pixels import IGNORED, OTHER, require_known_values
from benchmarks.loading import LoadPixels
from benchmarks.pixel_layouts import pixel_layout
from benchmarks.pixels import read_indices
from benchmarks.sample_pictures import names_below, sample_places
from benchmarks.schema import SegmentationBudget
from engine.equal_sizes import whole_image_loader
from engine.loaders import train_loader
from engine.randomness import KeyedDataset
from engine.scopes import prefix_types
from engine.second_test import view_transforms

TRANSFORMS.register_module(module=LoadPixels, force=True)


@DATASETS.register_module(force=True)
class IndexedImages(BaseSegDataset):
    """The pairs that the benchmark's layout lists, in MMSegmentation's terms."""

    def __init__(
        self, *, root: Path, layout: str, split: str, left_out: tuple[str, ...], **options: Any
    ) -> None:
        self.root, self.layout, self.split = root, layout, split
        self.left_out = frozenset(left_out)
        super().__init__(**options)

    def load_data_list(self) -> list[dict[str, Any]]:
        return [
            dict(
                img_path=str(self.root / sample.image),
                seg_map_path=str(self.root / str(sample.annotation)),
                seg_fields=[],
            )
            for sample in pixel_layout(self.layout).list_split(self.root, self.split)
            if sample.image not in self.left_out
        ]


@TRANSFORMS.register_module(force=True)
class LoadIndices(BaseTransform):
    """`seg_map_path` -> `gt_seg_map` (H, W): 0..K-1 the classes, 255 what does not count.

    meaning: of each value, see `PixelLayout`. Raises DataError for an annotation that does not fit
    its image or holds an unknown value.
    """

    def __init__(self, *, meaning: tuple[int, ...]) -> None:
        self.meaning = meaning
        labels = [number - 1 if number > OTHER else IGNORED for number in meaning]
        self.labels = np.array(labels, np.uint8)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        path = Path(results["seg_map_path"])
        indices = read_indices(path)
        if indices.shape != results["ori_shape"]:
            raise DataError(
                f"{path} has {indices.shape[1]}x{indices.shape[0]} pixels, its image "
                f"{results['ori_shape'][1]}x{results['ori_shape'][0]}"
            )
        require_known_values(path, np.bincount(indices.ravel()).tolist(), self.meaning)
        results["gt_seg_map"] = self.labels[indices]
        results["seg_fields"].append("gt_seg_map")
        return results


def _dataset(
    budget: SegmentationBudget, split: str, pipeline: list[dict[str, Any]], *, training: bool
) -> Any:
    config = dict(
        type="IndexedImages",
        root=budget.root,
        layout=budget.layout,
        split=split,
        left_out=budget.left_out,
        metainfo=dict(classes=budget.classes),
        test_mode=not training,
        pipeline=pipeline,
    )
    return DATASETS.build(prefix_types(config, "mmseg"))


def training_data(budget: SegmentationBudget, *, interpolation: str, seed: int) -> DataLoader[Any]:
    """Endless batches: scaled by 0.5 to 2, cropped, flipped, photometrically distorted."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadPixels"),
        dict(type="LoadIndices", meaning=pixel_layout(budget.layout).meaning(budget.classes)),
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
    dataset = _dataset(budget, pixel_layout(budget.layout).SPLITS[0], pipeline, training=True)
    return train_loader(
        KeyedDataset(dataset, seed=seed),
        batch_size=budget.batch_size,
        seed=seed,
        workers=budget.workers,
        collate=pseudo_collate,
    )


def test_data(budget: SegmentationBudget, *, interpolation: str) -> DataLoader[Any]:
    """Every validation image once, whole, those of one size together; the truth keeps its size."""
    pipeline: list[dict[str, Any]] = [
        dict(type="LoadPixels"),
        dict(
            type="Resize",
            scale=tuple(budget.image_size),
            keep_ratio=True,
            interpolation=interpolation,
        ),
        dict(type="LoadIndices", meaning=pixel_layout(budget.layout).meaning(budget.classes)),
        dict(type="PackSegInputs"),
    ]
    return _tested(budget, pipeline)


def views_data(budget: SegmentationBudget, *, interpolation: str) -> DataLoader[Any]:
    """As test_data, but all views of each image, for a `SegTTAModel`."""
    views = view_transforms(
        image_size=budget.image_size,
        scales=budget.view_scales,
        flips=budget.view_flips,
        keep_ratio=True,
        interpolation=interpolation,
        last=[
            dict(type="LoadIndices", meaning=pixel_layout(budget.layout).meaning(budget.classes)),
            dict(type="PackSegInputs"),
        ],
    )
    return _tested(budget, [dict(type="LoadPixels"), views])


def _tested(budget: SegmentationBudget, pipeline: list[dict[str, Any]]) -> DataLoader[Any]:
    dataset = _dataset(budget, pixel_layout(budget.layout).SPLITS[1], pipeline, training=False)

    def size_of(index: int) -> tuple[int, int]:
        return check_image(Path(dataset.get_data_info(index)["img_path"])).shown

    return whole_image_loader(
        dataset,
        size_of=size_of,
        most=budget.batch_size,
        workers=min(1, budget.workers),
        collate=pseudo_collate,
    )


def sample_paths(dataset: Any, root: Path) -> frozenset[str]:
    """`img_path` of the images of a data set whose masks are kept to be looked at."""
    paths = [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]
    return frozenset(paths[place] for place in sample_places(names_below(root, paths)))
