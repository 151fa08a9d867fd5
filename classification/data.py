"""ImageNet-layout data for pretraining: file to uint8 view, and the batch to normalized tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Dataset, default_collate, get_worker_info

from backbones.preprocessing import Preprocessing
from backbones.representation import Representation
from benchmarks.pixels import EncodedImage
from classification.augmentation import augment, center_view, lit
from classification.recipe import Recipe
from classification.resampling import Interpolation
from classification.tricks.trick import Trick
from engine.fast_paths import is_fast
from engine.randomness import SampleKey, label_rng, sample_rng
from engine.shared_batch import whole


def as_sample(view: np.ndarray, label: int, lighting: np.ndarray | None = None) -> dict[str, Any]:
    """What a data set gives of one image: (C, H, W) uint8, and how its light is moved."""
    sample = {"images": torch.from_numpy(view).permute(2, 0, 1), "labels": label}
    return sample if lighting is None else {**sample, "lighting": torch.from_numpy(lighting)}


def batch_of(samples: Iterable[dict[str, Any]], count: int) -> dict[str, Tensor]:
    """The batch of `count` samples, each copied into it before the next one is made.

    So it is still in the processor's cache, and in a data worker it goes straight into the memory
    that is shared. "images" is (B, C, H, W) and lies as (B, H, W, C), as the views do.
    """
    images, others = torch.empty(0), []
    for index, sample in enumerate(samples):
        view = sample.pop("images").permute(1, 2, 0)
        if not index:
            images = _room((count, *view.shape))
        images[index] = view
        others.append(sample)
    batch: dict[str, Tensor] = default_collate(others)
    return {"images": images.permute(0, 3, 1, 2), **batch}


def _room(shape: tuple[int, ...]) -> Tensor:
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # As in torch's own collation: what is sent to the training process is not copied again.
    shared = torch.UntypedStorage._new_shared(math.prod(shape))
    room: Tensor = torch.empty(0, dtype=torch.uint8).set_(shared).view(shape)
    return room


def ready_batch(batch: Any) -> Any:
    """The `collate` of a loader of these data sets, which make whole batches."""
    return batch


class _Views(Dataset[dict[str, Any]]):
    """Makes whole batches where a loader asks for them; see `ready_batch`."""

    def __getitems__(self, keys: Sequence[Any]) -> dict[str, Tensor]:
        return batch_of((self[key] for key in keys), len(keys))


class TrainingImages(_Views):
    """Augmented views, indexed by SampleKey: the same key gives the same pixels in any process."""

    def __init__(
        self,
        samples: Sequence[tuple[Path, int]],
        *,
        size: int,
        recipe: Recipe,
        seed: int,
        num_classes: int,
        representation: Representation | None = None,
        soft: np.ndarray | None = None,
    ) -> None:
        """soft: (m, K) float32, targets of the last m samples in the place of their labels."""
        self.samples, self.size, self.num_classes = samples, size, num_classes
        self.soft = soft
        self.augmentation, self.tricks, self.seed = recipe.augmentation, recipe.acting, seed
        self.representation = representation
        plain = Trick.transform_label
        self.relabeling = [t for t in self.tricks if type(t).transform_label is not plain]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        path, label = self.samples[key.sample]
        rng = sample_rng(self.seed, key)
        view, lighting = augment(
            _source(path, self.representation),
            size=self.size,
            augmentation=self.augmentation,
            tricks=self.tricks,
            rng=rng,
        )
        if self.representation is not None:
            # The light falls on the scene, so on red, green and blue.
            view = np.ascontiguousarray(self.representation(lit(view, lighting)))
        label = self.label_of(key.sample, label)
        sample = as_sample(view, label, lighting if self.representation is None else None)
        if self.soft is not None:
            sample["targets"] = self.target_of(key.sample, label)
        return sample

    def target_of(self, sample: int, label: int) -> Tensor:
        """(K,) float32: a row of `soft`, or one at the label."""
        assert self.soft is not None, "all have targets, or none"
        place = sample - (len(self.samples) - len(self.soft))
        if place >= 0:
            return torch.from_numpy(self.soft[place])
        return one_hot(torch.tensor(label), self.num_classes).float()

    def label_of(self, sample: int, label: int) -> int:
        """What the training takes for the label of a sample, in each epoch alike."""
        for trick in self.relabeling:
            rng = label_rng(self.seed, sample)
            label = trick.transform_label(label, self.num_classes, rng)
        return label


def _source(path: Path, representation: Representation | None) -> np.ndarray | EncodedImage:
    """The file, of which a view takes a part; with alpha its pixels, (H, W, 4)."""
    image = EncodedImage.read(path)
    with_alpha = representation is not None and representation.source_channels == 4
    return image.with_alpha() if with_alpha else image


def whole_image(path: Path, representation: Representation | None) -> np.ndarray:
    """(H, W, C) uint8: RGB, and alpha where the representation shows it."""
    source = _source(path, representation)
    return source if isinstance(source, np.ndarray) else source.whole()


class ValidationImages(_Views):
    """Central views in the order of the index."""

    def __init__(
        self,
        samples: Sequence[tuple[Path, int]],
        *,
        size: int,
        resize_size: int,
        interpolation: Interpolation = "bilinear",
        representation: Representation | None = None,
    ) -> None:
        self.samples, self.size, self.resize_size = samples, size, resize_size
        self.interpolation, self.representation = interpolation, representation

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, label = self.samples[index]
        view = center_view(
            whole_image(path, self.representation),
            size=self.size,
            resize_size=self.resize_size,
            interpolation=self.interpolation,
        )
        if self.representation is not None:
            view = self.representation(view)
        return as_sample(np.ascontiguousarray(view), label)


def normalized_alone(images: Tensor) -> Tensor:
    """Each image minus its own mean, over its own deviation, of each channel.

    images: (B, C, H, W) in 0..255. A deviation below 1, of an image that is all of one colour,
    counts as 1.
    """
    std, mean = torch.std_mean(images, dim=(2, 3), correction=0, keepdim=True)
    return (images - mean) / std.clamp(min=1)


class Normalizer(BaseDataPreprocessor):
    """uint8 images and their lighting offsets to normalized float images.

    channels_last: the memory format that the convolutions of half precision prefer. of_all: of
    several processes each gets the batch of all in training, to mix images with those of others;
    what it costs is (W - 1) / W of a batch of uint8 images, received by each.
    """

    def __init__(
        self, preprocessing: Preprocessing, *, channels_last: bool, of_all: bool = False
    ) -> None:
        super().__init__()
        self.of_all = of_all
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1), False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, -1, 1, 1), False)
        shown = preprocessing.representation
        self.each_alone = shown is not None and shown.kind == "normalized"
        self.reverses = preprocessing.channel_order == "BGR"
        self.layout = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        data = self.cast_data(data)
        if training and self.of_all:
            data = {name: whole(values) for name, values in data.items()}
        if data["images"].ndim == 2:  # features, which are made of images that went through here
            return data
        lighting = data.get("lighting")
        if self.each_alone:
            images = normalized_alone(data["images"].to(memory_format=self.layout).float())
        elif is_fast("normalization"):
            images = self._scaled(data["images"], lighting)
        else:
            images = data["images"].to(memory_format=self.layout).float()
            if lighting is not None:
                images = images + lighting.float()[:, :, None, None]
            images = (images - self.mean) / self.std
        if self.reverses:
            images = images.flip(1)
        return {**{k: v for k, v in data.items() if k != "lighting"}, "images": images}

    def _scaled(self, images: Tensor, lighting: Tensor | None) -> Tensor:
        """images / std + (lighting - mean) / std."""
        scale, offset = 1 / self.std, -self.mean / self.std
        if lighting is not None:
            offset = offset + lighting.float()[:, :, None, None] * scale
        values = images.to(torch.float32, memory_format=self.layout)
        if self.layout is torch.channels_last:
            # A row of pixels is a vector of W * 3 numbers; broadcast over channels, whose stride
            # is one, the same sum takes four times as long on a CPU.
            batch, channels, height, width = values.shape
            rows = values.permute(0, 2, 3, 1).view(batch, height, width * channels)
            scale, offset = (
                part.permute(0, 2, 3, 1).expand(-1, 1, width, -1).flatten(2)
                for part in (scale, offset)
            )
            torch.addcmul(offset, rows, scale, out=rows)
            return values
        return torch.addcmul(offset, values, scale, out=values)
