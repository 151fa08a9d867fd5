"""What an artifact's backbone makes of images, as it is: one vector for each image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from backbones.base import Backbone
from classification.data import Normalizer, ValidationImages, ready_batch
from engine.fast_paths import is_fast
from engine.loaders import evaluation_loader
from engine.processes import tell

_BATCH_SIZE = 64
_LINES = 5


@dataclass(frozen=True, kw_only=True)
class ChosenImages:
    """Training images, those of one class together and within it in an order drawn from a seed.

    samples: (path, label); rank: (n,) the place of each within its class, from 0; in_class: (n,)
    how many images its class has, the ones not chosen included.
    """

    samples: list[tuple[Path, int]]
    rank: npt.NDArray[np.int64]
    in_class: npt.NDArray[np.int64]

    def few_shot(self, percent: int) -> npt.NDArray[np.bool_]:
        """(n,) The first `percent` % of each class's images, rounded up: at least one."""
        wanted: npt.NDArray[np.int64] = -(-self.in_class * percent // 100)
        return self.rank < wanted


def choose_images(samples: Iterable[tuple[Path, int]], *, seed: int, most: int) -> ChosenImages:
    """At most `most` images of all classes together, the same share for each class.

    The order within a class is that of a hash of the seed and the image's own name and folder, so
    that fewer images are the first of more, wherever the data lies.
    """
    classes: dict[int, list[tuple[str, Path]]] = {}
    for path, label in samples:
        name = f"{seed}/{path.parent.name}/{path.name}"
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        classes.setdefault(label, []).append((digest, path))
    share = max(1, most // max(1, len(classes)))
    chosen: list[tuple[Path, int]] = []
    ranks: list[int] = []
    counts: list[int] = []
    for label in sorted(classes):
        taken = sorted(classes[label])[:share]
        chosen += [(path, label) for _, path in taken]
        ranks += range(len(taken))
        counts += [len(classes[label])] * len(taken)
    return ChosenImages(
        samples=chosen, rank=np.array(ranks, np.int64), in_class=np.array(counts, np.int64)
    )


def frozen_features(
    backbone: Backbone,
    samples: Sequence[tuple[Path, int]],
    *,
    size: int,
    resize_size: int,
    workers: int = 0,
    done: Callable[[int], None] = lambda images: None,
) -> npt.NDArray[np.float32]:
    """(n, C) Global average of the last level that a classifier sees, of each central view.

    size, resize_size: side of the view, and of the image's shorter side before it is cut out, in
    pixels. The preprocessing is the backbone's own; evaluation mode, float32, on the GPU where
    there is one. done: is told after each batch how many images are through. Raises ValueError for
    features that are no numbers.
    """
    prep = backbone.preprocessing
    images = ValidationImages(
        samples,
        size=size,
        resize_size=resize_size,
        interpolation=prep.interpolation,
        representation=prep.representation,
    )
    loader = evaluation_loader(images, batch_size=_BATCH_SIZE, workers=workers, collate=ready_batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fast = is_fast("channels_last")
    layout = torch.channels_last if fast else torch.contiguous_format
    backbone = backbone.to(device).to(memory_format=layout).eval()
    normalizer = Normalizer(prep, channels_last=fast).to(device)
    features = np.empty((len(samples), backbone.features.channels[-1]), np.float32)
    at = 0
    with torch.inference_mode():
        for batch in loader:
            views = normalizer(batch)["images"]
            pooled = backbone.classification_features(views)[-1].mean((2, 3))
            features[at : at + len(pooled)] = pooled.float().cpu().numpy()
            at += len(pooled)
            done(at)
    assert at == len(features), "every image has its features"
    if not math.isfinite(float(np.abs(features).max(initial=0))):
        raise ValueError(
            "the backbone's features are not finite: its weights overflow in float32, so that "
            "nothing can be probed; pretrain it again, or leave it out"
        )
    return features


def labels_of(samples: Iterable[tuple[Path, int]]) -> npt.NDArray[np.int64]:
    """(n,)"""
    return np.array([label for _, label in samples], np.int64)


def progress(label: str, total: int) -> Callable[[int], None]:
    """For `done`: a few lines on standard error."""
    step = max(1, total // _LINES)
    told = 0

    def done(images: int) -> None:
        nonlocal told
        if images // step > told or images == total:
            told = images // step
            tell(f"  {label} {images}/{total}")

    return done
