"""Label noise: a fixed share of the training labels, the same in each epoch, and no others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.imagenet_layout import read_index
from classification.data import TrainingImages, ValidationImages
from classification.derived import find_recipe
from classification.recipe import Recipe
from classification.tricks import LabelNoise, Mixup
from classification.tricks.label_noise import noisy_label
from engine.randomness import SampleKey

CLASSES, COUNT = 10, 2000


def labels_of(fraction: float | None, *, seed: int = 0) -> list[int]:
    """What a training sees of images whose right labels are 0, 1, ..., 9, 0, 1, ..."""
    recipe = Recipe() if fraction is None else Recipe() | LabelNoise(fraction) | Mixup(0.2)
    data = TrainingImages([], size=8, recipe=recipe, seed=seed, num_classes=CLASSES)
    return [data.label_of(place, place % CLASSES) for place in range(COUNT)]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_the_share_is_replaced_by_uniform_labels(fraction: float) -> None:
    found = np.array(labels_of(fraction))
    right = np.arange(COUNT) % CLASSES
    # One in ten of the random labels is right by chance.
    wrong = fraction * (1 - 1 / CLASSES)
    assert (found != right).mean() == pytest.approx(wrong, abs=4 * np.sqrt(0.25 / COUNT))
    counts = Counter(found[found != right].tolist())
    assert len(counts) == CLASSES
    assert min(counts.values()) > 0.5 * max(counts.values())


def test_it_follows_from_the_seed_and_the_image_alone() -> None:
    first = labels_of(0.5)
    assert labels_of(0.5) == first
    other = labels_of(0.5, seed=1)
    assert other != first
    assert labels_of(None) == [place % CLASSES for place in range(COUNT)]


def test_more_noise_keeps_what_less_noise_has_replaced() -> None:
    """So that 20%, 50% and 80% are one experiment made harder."""
    right = [place % CLASSES for place in range(COUNT)]
    less, more = labels_of(0.2), labels_of(0.8)
    assert all(m == a for a, m, r in zip(less, more, right, strict=True) if a != r)


@pytest.mark.parametrize(("name", "share"), [("noise20", 0.2), ("noise50", 0.5), ("noise80", 0.8)])
def test_erm_and_mixup_by_name_differ_in_mixup_alone(name: str, share: float) -> None:
    assert find_recipe(name) == Recipe() | LabelNoise(share)
    assert find_recipe(f"{name}+mixup") == Recipe() | LabelNoise(share) | Mixup(0.2)


def test_one_draw_by_hand() -> None:
    class Draws:
        def __init__(self, label: int, chance: float) -> None:
            self.label, self.chance = label, chance

        def integers(self, count: int) -> int:
            assert count == CLASSES
            return self.label

        def random(self) -> float:
            return self.chance

    def noisy(chance: float) -> int:
        rng: Any = Draws(7, chance)
        return noisy_label(2, fraction=0.5, num_classes=CLASSES, rng=rng)

    assert noisy(0.49) == 7
    assert noisy(0.5) == 2


def test_real_files_keep_their_views_and_validation_its_labels(
    make_benchmark: Any, tmp_path: Path
) -> None:
    make_benchmark(tmp_path)
    index = read_index(tmp_path / "imagenet", "train")
    plain, noisy = (
        TrainingImages(index.samples, size=16, recipe=recipe, seed=0, num_classes=3)
        for recipe in (Recipe(), Recipe() | LabelNoise(1.0))
    )
    keys = [SampleKey(0, place) for place in range(len(index.samples))]
    a, b = plain.__getitems__(keys), noisy.__getitems__(keys)
    later = noisy.__getitems__([SampleKey(5, place) for _, place in keys])
    assert later["labels"].tolist() == b["labels"].tolist()
    assert np.array_equal(a["images"].numpy(), b["images"].numpy())
    assert a["labels"].tolist() == [label for _, label in index.samples]
    assert a["labels"].tolist() != b["labels"].tolist()
    val = read_index(tmp_path / "imagenet", "val").samples
    seen = [ValidationImages(val, size=16, resize_size=18)[i]["labels"] for i in range(len(val))]
    assert seen == [label for _, label in val]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        LabelNoise(fraction)
