"""ImageNet-layout data for pretraining: file to uint8 view, and the batch to normalized tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.utils.data import Dataset

from backbones.preprocessing import Preprocessing
from benchmarks.pixels import read_rgb
from classification.augmentation import Interpolation, augment, center_view
from classification.recipe import Recipe
from engine.randomness import SampleKey, sample_rng


def _chw(view: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)


class TrainingImages(Dataset[dict[str, Any]]):
    """Augmented views, indexed by SampleKey: the same key gives the same pixels in any process."""

    def __init__(
        self,
        samples: list[tuple[Path, int]],
        *,
        size: int,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.samples, self.size = samples, size
        self.augmentation, self.tricks, self.seed = recipe.augmentation, recipe.acting, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        path, label = self.samples[key.sample]
        rng = sample_rng(self.seed, key)
        view, lighting = augment(
            read_rgb(path),
            size=self.size,
            augmentation=self.augmentation,
            tricks=self.tricks,
            rng=rng,
        )
        return {"images": _chw(view), "lighting": torch.from_numpy(lighting), "labels": label}


class ValidationImages(Dataset[dict[str, Any]]):
    """Central views in the order of the index."""

    def __init__(
        self,
        samples: list[tuple[Path, int]],
        *,
        size: int,
        resize_size: int,
        interpolation: Interpolation = "area",
    ) -> None:
        self.samples, self.size, self.resize_size = samples, size, resize_size
        self.interpolation = interpolation

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, label = self.samples[index]
        view = center_view(
            read_rgb(path),
            size=self.size,
            resize_size=self.resize_size,
            interpolation=self.interpolation,
        )
        return {"images": _chw(view), "labels": label}


class Normalizer(BaseDataPreprocessor):
    """uint8 images and their lighting offsets to normalized float images.

    channels_last: the memory format that the convolutions of half precision prefer.
    """

    def __init__(self, preprocessing: Preprocessing, *, channels_last: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), False)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        data = self.cast_data(data)
        images = data["images"].to(memory_format=self.layout).float()
        if "lighting" in data:
            images = images + data["lighting"].float()[:, :, None, None]
        return {"images": (images - self.mean) / self.std, "labels": data["labels"]}
