"""What a frozen backbone makes of images that are the same in every epoch: computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.hooks import Hook
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from classification.data import TrainingImages, ValidationImages, ready_batch
from classification.frozen_features import progress
from classification.model import Classifier, mixes_batches
from classification.recipe import Recipe
from classification.tricks.plain_views import PlainViews
from classification.tricks.trick import Trick
from engine.checkpoints import bare
from engine.processes import rank, world_size
from engine.randomness import SampleKey

MOST_IN_MEMORY = 2**30
"""Bytes of the features of one data set; more lie in a file."""

_BATCH_SIZE = 64


def trains_on_features(recipe: Recipe) -> bool:
    """Whether each step sees of an image what the step of the epoch before saw, up to the head."""
    others = [trick for trick in recipe.acting if not isinstance(trick, PlainViews)]
    plain = len(others) < len(recipe.acting)
    touches = any(
        getattr(type(trick), place) is not getattr(Trick, place)
        for trick in others
        for place in ("crop_box", "transform_view", "forward")
    )
    teaches = recipe.distillation is not None  # which wants the images
    return recipe.tuning.head_only and plain and not (touches or teaches or mixes_batches(recipe))


class CachedFeatures(Dataset[dict[str, Tensor]]):
    """A data set's images as features: "images" is (B, C) float32, the labels are the data set's.

    file: for features of more than MOST_IN_MEMORY bytes; of several processes each has its own,
    beside this one. They are there once `fill` was called.
    """

    def __init__(self, images: TrainingImages | ValidationImages, file: Path) -> None:
        self.images = images
        own = f"-{rank()}" if world_size() > 1 else ""
        self.file = file.with_stem(f"{file.stem}{own}")
        self.features: npt.NDArray[np.float32] | None = None
        labels = [label for _, label in images.samples]
        if isinstance(images, TrainingImages):
            labels = [images.label_of(index, label) for index, label in enumerate(labels)]
        self.labels = torch.tensor(labels)
        self.targets: Tensor | None = None
        if isinstance(images, TrainingImages) and images.soft is not None:
            self.targets = torch.stack(
                [images.target_of(i, label) for i, label in enumerate(labels)]
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> dict[str, Tensor]:
        assert self.features is not None, "filled before the first step"
        places = [key.sample if isinstance(key, SampleKey) else key for key in keys]
        batch = {"images": torch.from_numpy(self.features[places]), "labels": self.labels[places]}
        return batch if self.targets is None else {**batch, "targets": self.targets[places]}

    def fill(
        self, compute: Callable[[dict[str, Tensor]], Tensor], *, workers: int, label: str
    ) -> None:
        """compute: a batch as the images' data set gives it -> features (B, C).

        Raises OSError when the disk refuses.
        """
        loader = DataLoader(
            _InOrder(self.images),
            batch_size=_BATCH_SIZE,
            num_workers=workers,
            collate_fn=ready_batch,
        )
        done, told = 0, progress(label, len(self))
        rows: list[npt.NDArray[np.float32]] = []
        in_file = False
        with torch.no_grad():
            for batch in loader:
                found = compute(batch).float().cpu().numpy()
                if not done and found[0].nbytes * len(self) > MOST_IN_MEMORY:
                    in_file = True
                    _begin_file(self.file, (len(self), found.shape[1]))
                if in_file:
                    _append(self.file, found)
                else:
                    rows.append(found)
                done += len(found)
                told(done)
        assert done == len(self), "every image has its features"
        self.features = np.load(self.file, mmap_mode="r") if in_file else np.concatenate(rows)


class _InOrder(Dataset[dict[str, Tensor]]):
    """Each image once; of training images the views of the first epoch."""

    def __init__(self, images: TrainingImages | ValidationImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, places: Sequence[int]) -> dict[str, Tensor]:
        training = isinstance(self.images, TrainingImages)
        keys = [SampleKey(0, place) for place in places] if training else places
        return self.images.__getitems__(keys)


def _begin_file(path: Path, shape: tuple[int, int]) -> None:
    # Written and not mapped: a disk that is full is an error then, not the end of the process.
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)


def _append(path: Path, rows: npt.NDArray[np.float32]) -> None:
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(rows, "<f4").data)


class FillFeatures(Hook):
    """Computes features before the training: those of the steps in their number format, those of
    the validations in theirs. A resumed training computes them again.

    train: None where each epoch shows other views.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        train: CachedFeatures | None,
        val: CachedFeatures,
        workers: int,
        label: str,
    ) -> None:
        self.classifier, self.train, self.val = classifier, train, val
        self.workers, self.label = workers, label

    def before_train(self, runner: Any) -> None:
        model: Any = bare(runner.model)
        model.eval()

        def compute(batch: dict[str, Tensor]) -> Tensor:
            return self.classifier.features(model.data_preprocessor(batch)["images"])

        if self.train is not None:
            with runner.optim_wrapper.optim_context(runner.model):
                self.train.fill(compute, workers=self.workers, label=f"{self.label}: training")
        self.val.fill(compute, workers=self.workers, label=f"{self.label}: validation")

    def after_run(self, runner: Any) -> None:
        for data in (self.train, self.val):
            if data is not None:
                data.file.unlink(missing_ok=True)
