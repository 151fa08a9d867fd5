"""A person's square crop and the keypoints in it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.coco_keypoints_layout import Person, read_people
from benchmarks.pixels import read_bgr
from benchmarks.schema import KeypointBudget
from detection.keypoints.protocol import MARGIN
from engine.loaders import evaluation_loader, train_loader
from engine.randomness import SampleKey

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


class People(Dataset[dict[str, Any]]):
    """`inputs` (3, S, S) uint8 BGR; `data_samples` (K, 3): x, y in sides of the crop, visibility.

    With a seed it is indexed by SampleKey, and the crop is moved and scaled by up to a tenth.
    """

    def __init__(
        self, budget: KeypointBudget, split: str, *, interpolation: str, seed: int | None = None
    ) -> None:
        self.budget, self.seed = budget, seed
        self.interpolation = _INTERPOLATION[interpolation]
        left_out = set(budget.left_out)
        people = read_people(budget.root, split, budget.keypoints)
        self.people = [person for person in people if person.image not in left_out]
        self.metainfo = {"classes": budget.keypoints}

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        if isinstance(key, int):
            return self.cropped(self.people[key], np.zeros(3))
        assert self.seed is not None, "training draws from a seed"
        rng = np.random.default_rng([self.seed, key.epoch, key.sample])
        return self.cropped(self.people[key.sample], rng.uniform(-0.1, 0.1, 3))

    def cropped(self, person: Person, jitter: np.ndarray) -> dict[str, Any]:
        x, y, width, height = person.box
        side = MARGIN * max(width, height, 1.0) * (1 + jitter[2])
        corner = np.array([x + width / 2, y + height / 2]) + side * (jitter[:2] - 0.5)
        scale = self.budget.image_size / side
        # OpenCV's coordinates are those of pixel centers, COCO's those of corners.
        move = np.array([[scale, 0, 0], [0, scale, 0]])
        move[:, 2] = scale * (0.5 - corner) - 0.5
        size = (self.budget.image_size, self.budget.image_size)
        image = read_bgr(self.budget.root / person.image)
        crop = cv2.warpAffine(image, move, size, flags=self.interpolation)
        points = np.array(person.points, np.float32)
        points[:, :2] = (points[:, :2] - corner) / side
        inputs = torch.from_numpy(crop).permute(2, 0, 1).contiguous()
        return {"inputs": inputs, "data_samples": torch.from_numpy(points)}


def training_data(budget: KeypointBudget, *, interpolation: str, seed: int) -> DataLoader[Any]:
    """Endless batches."""
    return train_loader(
        People(budget, budget.train, interpolation=interpolation, seed=seed),
        batch_size=budget.batch_size,
        seed=seed,
        workers=budget.workers,
    )


def test_data(people: People) -> DataLoader[Any]:
    """Everybody once, in order."""
    budget = people.budget
    return evaluation_loader(people, batch_size=budget.batch_size, workers=min(1, budget.workers))
