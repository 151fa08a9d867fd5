"""Test-time views: torchvision's crops, averages by hand, and one plain view changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.functional import ten_crop

from backbones.preprocessing import IMAGENET_PAPER
from benchmarks.schema import FineTuneBudget
from classification import many_views
from classification.augmentation import center_view
from classification.budget import training_plan
from classification.data import Normalizer, ValidationImages, ready_batch
from classification.many_views import ManyViews
from classification.model import Classifier, TrainedClassifier
from classification.recipe import Recipe
from classification.training import build_classifier
from classification.tricks import TRICKS
from classification.tricks import test_time_views as module

SIZE, RESIZE = 32, 36
Trick = TRICKS["test_time_views"]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 52, 3)).astype(np.uint8)


def views(image: np.ndarray, **options: Any) -> np.ndarray:
    return module.views(image, size=SIZE, resize_size=RESIZE, **options)


def test_one_view_is_that_of_a_plain_test(image: np.ndarray) -> None:
    plain = center_view(image, size=SIZE, resize_size=RESIZE)
    assert np.array_equal(views(image), plain[None])
    assert np.array_equal(views(image, crops=5, flip=True)[0], plain)


def test_the_crops_are_torchvisions_ten(image: np.ndarray) -> None:
    # 40 x 52 in its own size, so that nothing is resized: margins of 4 and 10 on each side.
    found = module.views(image, size=SIZE, resize_size=40, crops=5, flip=True)
    theirs = ten_crop(torch.from_numpy(image).permute(2, 0, 1), SIZE)
    expected = {crop.permute(1, 2, 0).numpy().tobytes() for crop in theirs}
    assert found.shape == (10, SIZE, SIZE, 3)
    assert {np.ascontiguousarray(view).tobytes() for view in found} == expected
    assert len(expected) == 10


def test_a_larger_scale_shows_less_of_the_image(image: np.ndarray) -> None:
    found = views(image, scales=(1.0, 1.5))
    assert found.shape == (2, SIZE, SIZE, 3)
    expected = center_view(image, size=SIZE, resize_size=54)
    assert np.array_equal(found[1], expected)
    with pytest.raises(ValueError, match=r"scale 0\.5 makes the shorter side 18 pixels"):
        views(image, scales=(1.0, 0.5))


def test_a_scale_that_is_too_small_is_refused_before_the_training() -> None:
    budget = FineTuneBudget(root=Path("/nowhere"), image_size=SIZE, resize_size=RESIZE)

    def plan(scale: float) -> None:
        recipe = Recipe() | Trick(scales=(1.0, scale))
        training_plan(recipe, budget, 100, architecture="resnet18d")

    with pytest.raises(ValueError, match=r"scale 0\.8 makes the shorter side 29 pixels"):
        plan(0.8)
    plan(0.9)  # of 36 pixels 32.4: the view just fits


def test_averages_by_hand() -> None:
    logits = torch.log(torch.tensor([[[0.9, 0.1], [0.4, 0.6]]], dtype=torch.float64))
    assert torch.allclose(module.average(logits), torch.tensor([[0.65, 0.35]]).double())
    # Of logits the geometric mean: sqrt(0.9 * 0.4) = 0.6 and sqrt(0.1 * 0.6), over their sum.
    expected = torch.tensor([[0.6, 0.06**0.5]], dtype=torch.float64)
    assert torch.allclose(module.average(logits, of="logits"), expected / expected.sum())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"crops": 10}, "ten crops are 5 with flip"),
        ({"scales": ()}, "one factor or more"),
        ({"scales": (1.0, 1.0)}, "more than once"),
        ({"scales": (0.0,)}, "one factor or more"),
        ({"of": "votes"}, "probabilities, logits"),
    ],
)
def test_knobs_that_cannot_be_used_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Trick(**wrong)


def test_the_trick_changes_no_number_of_a_recipe_and_is_found_in_it() -> None:
    recipe = Recipe() | Trick(scales=[1.0, 1.25])
    assert recipe.numbers() == Recipe().numbers()
    assert many_views.views_of(recipe) == Trick(scales=(1.0, 1.25))
    assert many_views.views_of(Recipe()) is None


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, int]]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    found = []
    for number in range(5):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (40 + number, 50, 3)).astype(np.uint8))
        found.append((path, number % 3))
    return found


@pytest.fixture(scope="module")
def model() -> TrainedClassifier:
    classifier, _ = build_classifier("resnet18d", Recipe(), width=0.125, num_classes=3, seed=0)
    assert isinstance(classifier, Classifier)
    normalizer = Normalizer(IMAGENET_PAPER, channels_last=False)
    return TrainedClassifier(classifier, Recipe(), num_classes=3, normalizer=normalizer).eval()


def probabilities(model: TrainedClassifier, samples: Any, trick: Any) -> np.ndarray:
    plan: Any = SimpleNamespace(eval_size=SIZE, resize_size=RESIZE)
    return many_views.probabilities(
        model, samples, plan, IMAGENET_PAPER, trick=trick, batch_size=20
    )


@torch.no_grad()
def test_one_plain_view_gives_what_a_plain_test_gives(
    model: TrainedClassifier, samples: Any
) -> None:
    images = ValidationImages(samples, size=SIZE, resize_size=RESIZE)
    batch = ready_batch(images.__getitems__(range(5)))
    plain = torch.stack([answer["logits"] for answer in model.test_step(batch)]).softmax(1)
    for trick in (None, Trick(flip=False)):
        found = probabilities(model, samples, trick)
        assert np.abs(found - plain.numpy()).max() <= 1e-6
    assert plain.std(dim=0).min() > 1e-4, "answers that could differ"


@torch.no_grad()
def test_the_views_of_an_image_are_averaged_with_each_other(
    model: TrainedClassifier, samples: Any
) -> None:
    """Each image by itself, its two views by hand; in one call, two images in a batch."""
    trick = Trick(crops=5)
    found = probabilities(model, samples, trick)
    assert found.shape == (5, 3)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)
    images = ManyViews(samples, trick=trick, size=SIZE, resize_size=RESIZE)
    for place in range(5):
        batch = images.__getitems__([place])
        assert batch["images"].shape == (10, 3, SIZE, SIZE)
        said = model.classifier(model.data_preprocessor(batch)["images"]).softmax(1).mean(0)
        assert np.abs(found[place] - said.numpy()).max() <= 1e-6
