"""What a fine-tuned or pretrained classifier says of image files.

from classification.predict import load_predictor
predictor = load_predictor("runs/flowers/classifier")
print(predictor("photo.jpg"))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from backbones.card import ArtifactError, read_card
from benchmarks.errors import DataError
from classification.data import Normalizer, ValidationImages, ready_batch
from classification.model import Classifier, load_classifier

_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """classes: of the outputs, in their order. size, resize_size: side of the central view that is
    looked at, and of the image's shorter side before it, in pixels: as in the classifier's test."""

    classifier: Classifier
    classes: tuple[str, ...]
    size: int
    resize_size: int

    def __call__(self, file: str | os.PathLike[str]) -> dict[str, float]:
        """class -> probability of one JPEG or PNG file, the most probable first."""
        (said,) = self.probabilities([file])
        order = np.argsort(-said, kind="stable")
        return {self.classes[place]: float(said[place]) for place in order}

    def probabilities(self, files: Sequence[str | os.PathLike[str]]) -> npt.NDArray[np.float32]:
        """(n, K), each row adding up to 1. Raises DataError (a ValueError) for a file that is
        missing or no image; TypeError for what is no path, such as pixels."""
        for file in files:
            if not isinstance(file, (str, os.PathLike)):
                raise TypeError(f"expected the path of an image file, not {type(file).__name__}")
            if not Path(file).exists():
                raise DataError(f"{os.fspath(file)}: there is no such file")
        prep = self.classifier.backbone.preprocessing
        images = ValidationImages(
            [(Path(file), 0) for file in files],
            size=self.size,
            resize_size=self.resize_size,
            interpolation=prep.interpolation,
            representation=prep.representation,
        )
        device = next(self.classifier.parameters()).device
        normalizer = Normalizer(prep, channels_last=False).to(device)
        loader = DataLoader(images, batch_size=_BATCH_SIZE, collate_fn=ready_batch)
        found = np.empty((len(files), len(self.classes)), np.float32)
        with torch.inference_mode():
            for at, batch in enumerate(loader):
                logits = self.classifier(normalizer(batch)["images"])
                part = slice(at * _BATCH_SIZE, (at + 1) * _BATCH_SIZE)
                found[part] = logits.float().softmax(dim=1).cpu().numpy()
        return found


def load_predictor(directory: str | os.PathLike[str]) -> Predictor:
    """The classifier of an artifact, on the GPU where there is one.

    Raises ArtifactError where there is none, it is damaged, or its card does not say its classes
    and the size of its images.
    """
    card = read_card(directory)
    size = card.dataset and card.dataset.get("eval_size")
    resize_size = card.dataset and card.dataset.get("resize_size")
    if card.classes is None or not size or not resize_size:
        raise ArtifactError(
            f"the card of {os.fspath(directory)} does not say the classes or the size of the "
            "images: it was written by an older version, or is no classifier"
        )
    classifier = load_classifier(directory)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Predictor(
        classifier=classifier.to(device),
        classes=card.classes,
        size=size,
        resize_size=resize_size,
    )
