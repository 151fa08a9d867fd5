"""What a classifier says of several views of each image, averaged: the trick test_time_views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from backbones.preprocessing import Preprocessing
from classification.budget import TrainingPlan
from classification.data import ValidationImages, as_sample, batch_of, ready_batch, whole_image
from classification.model import TrainedClassifier
from classification.recipe import Recipe
from classification.tricks.test_time_views import Averaged, TestTimeViews, average, views
from classification.tuned_scores import Probabilities


def views_of(recipe: Recipe) -> TestTimeViews | None:
    """What the recipe asks for in its final test beside the plain one; None: nothing."""
    return next((trick for trick in recipe.tricks if isinstance(trick, TestTimeViews)), None)


class ManyViews(ValidationImages):
    """All views of each image: a batch of n images is one of n * V views, those of an image
    together. The options are those of ValidationImages, and the evaluation's."""

    def __init__(
        self, samples: Sequence[tuple[Path, int]], *, trick: TestTimeViews, **options: Any
    ) -> None:
        super().__init__(samples, **options)
        self.trick = trick

    def __getitems__(self, keys: Sequence[int]) -> dict[str, Tensor]:
        every = (sample for key in keys for sample in self._views_of(key))
        return batch_of(every, len(keys) * self.trick.count)

    def _views_of(self, index: int) -> Iterator[dict[str, Any]]:
        path, label = self.samples[index]
        shown = views(
            whole_image(path, self.representation),
            size=self.size,
            resize_size=self.resize_size,
            scales=self.trick.scales,
            crops=self.trick.crops,
            flip=self.trick.flip,
            interpolation=self.interpolation,
        )
        for view in shown:
            if self.representation is not None:
                view = self.representation(view)
            yield as_sample(np.ascontiguousarray(view), label)


def probabilities(
    model: TrainedClassifier,
    samples: Sequence[tuple[Path, int]],
    plan: TrainingPlan,
    preprocessing: Preprocessing,
    *,
    trick: TestTimeViews | None = None,
    batch_size: int,
    workers: int = 0,
) -> Probabilities:
    """Of each class for each image, (n, K), averaged over its views; without a trick: the central.

    model: not wrapped for several processes. batch_size: in views, rounded down to whole images.
    """
    options: dict[str, Any] = {
        "size": plan.eval_size,
        "resize_size": plan.resize_size,
        "interpolation": preprocessing.interpolation,
        "representation": preprocessing.representation,
    }
    images = (
        ValidationImages(samples, **options)
        if trick is None
        else ManyViews(samples, trick=trick, **options)
    )
    count = 1 if trick is None else trick.count
    of: Averaged = "probabilities" if trick is None else trick.of
    loader = DataLoader(
        images,
        batch_size=max(1, batch_size // count),
        num_workers=workers,
        collate_fn=ready_batch,
    )
    model.eval()
    found = []
    with torch.no_grad():
        for batch in loader:
            logits = torch.stack([answer["logits"] for answer in model.test_step(batch)])
            found.append(average(logits.float().unflatten(0, (-1, count)), of=of).cpu())
    said: Probabilities = torch.cat(found).numpy()
    return said
