"""From files to normalized batches: the reference's laws, and the same numbers the plain way."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import ColorJitter

from backbones.preprocessing import IMAGENET_PAPER
from classification import augmentation
from classification.augmentation import Augmentation, augment
from classification.data import Normalizer, TrainingImages, batch_of, ready_batch
from classification.recipes.bag_of_tricks import standard
from engine.fast_paths import VARIABLE
from engine.loaders import train_loader
from engine.randomness import SampleKey

COUNT = 2000


class Recorder:
    """In the place of a file: keeps which part of it is asked for."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width, 3)
        self.boxes: list[tuple[int, ...]] = []

    def crop(self, *box: int) -> np.ndarray:
        self.boxes.append(box)
        part = np.zeros((4, 4, 3), np.uint8)
        part[:, 2:] = 255
        return part


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333)])
def test_the_pipeline_draws_as_timm_and_torchvision_do(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random.seed(0)  # timm's
    torch.manual_seed(0)  # torchvision's
    factors: list[tuple[float, ...]] = []
    flipped = 0

    def record(view: np.ndarray, **drawn: float) -> np.ndarray:
        nonlocal flipped
        flipped += int(view[0, 0, 0] == 255)
        factors.append(tuple(drawn.values()))
        return view

    monkeypatch.setattr(augmentation, "scale_colors", record)
    file = Recorder(height, width)
    for seed in range(COUNT):
        rng = np.random.default_rng([0, 0, seed])
        augment(file, size=4, augmentation=Augmentation(), rng=rng)  # type: ignore[arg-type]
    image = Image.new("RGB", (width, height))
    theirs = np.array(
        [
            RandomResizedCropAndInterpolation.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
            for _ in range(COUNT)
        ]
    )
    ours = np.array(file.boxes)
    share = [boxes[:, 2] * boxes[:, 3] / (height * width) for boxes in (ours, theirs)]
    ratio = [boxes[:, 3] / boxes[:, 2] for boxes in (ours, theirs)]
    for pair in (share, ratio, (ours[:, 0], theirs[:, 0]), (ours[:, 1], theirs[:, 1])):
        assert ks_2samp(*pair).pvalue > 1e-3
    jitter = [ColorJitter.get_params((0.6, 1.4), None, None, None)[1] for _ in range(COUNT)]
    for drawn in np.array(factors).T:  # hue, saturation, brightness
        assert ks_2samp(drawn, jitter).pvalue > 1e-3
    assert abs(flipped - COUNT / 2) < 4 * (COUNT / 4) ** 0.5


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("lies", ["rows of pixels", "planes"])
@pytest.mark.parametrize("lit", [True, False])
def test_normalization_both_ways(
    channels_last: bool, lies: str, lit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 7, 5, 3), np.uint8)
    lighting = rng.normal(0, 10, (3, 3)).astype(np.float32)
    mean, std = np.array(IMAGENET_PAPER.mean), np.array(IMAGENET_PAPER.std)
    offset = lighting[:, None, None, :].astype(float) if lit else 0.0
    expected = ((images + offset - mean) / std).transpose(0, 3, 1, 2)

    given = torch.from_numpy(images).permute(0, 3, 1, 2)
    data = {"images": given if lies == "rows of pixels" else given.contiguous()}
    data["labels"] = torch.zeros(3)
    if lit:
        data["lighting"] = torch.from_numpy(lighting)
    normalizer = Normalizer(IMAGENET_PAPER, channels_last=channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for switched_off in ("", "normalization"):
        monkeypatch.setenv(VARIABLE, switched_off)
        found = normalizer(dict(data))["images"]
        assert found.is_contiguous(memory_format=layout)
        assert np.abs(found.numpy() - expected).max() < 2e-6
    assert np.array_equal(given.numpy().transpose(0, 2, 3, 1), images)


@pytest.fixture
def images(tmp_path: Path) -> TrainingImages:
    rng = np.random.default_rng(0)
    samples = []
    for index in range(6):
        file = tmp_path / f"{index}.jpg"
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(file)
        samples.append((file, index))
    return TrainingImages(samples, size=24, recipe=standard, seed=0, num_classes=10)


def test_a_batch_holds_its_samples_in_order(images: TrainingImages) -> None:
    keys = [SampleKey(1, index) for index in (4, 0, 5)]
    one_by_one = [images[key] for key in keys]
    batch = images.__getitems__(keys)
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    assert batch["labels"].tolist() == [4, 0, 5]
    for index, sample in enumerate(one_by_one):
        assert torch.equal(batch["images"][index], sample["images"])
        assert torch.equal(batch["lighting"][index], sample["lighting"])


def test_workers_make_the_same_batches(images: TrainingImages) -> None:
    def batches(workers: int) -> list[dict[str, torch.Tensor]]:
        loader = train_loader(images, batch_size=3, seed=0, workers=workers, collate=ready_batch)
        return list(islice(loader, 3))

    for here, there in zip(batches(0), batches(1), strict=True):
        assert there["images"].is_shared()
        assert all(torch.equal(here[name], there[name]) for name in here)


def test_views_are_copied_one_after_the_other() -> None:
    """None waits for the others: memory holds one view beside the batch."""

    def samples() -> object:
        for value in range(3):
            view = torch.full((2, 2, 3), value, dtype=torch.uint8)
            yield {"images": view.permute(2, 0, 1), "labels": value}
            view.fill_(99)  # what comes after the copy does not show

    batch = batch_of(samples(), 3)  # type: ignore[arg-type]
    assert batch["images"][:, 0, 0, 0].tolist() == [0, 1, 2]
