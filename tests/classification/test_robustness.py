"""The robustness stage: which images, what is counted, and that it looks as pretraining did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones import create_backbone, load_artifact, save_artifact
from backbones.artifact import load_head
from backbones.preprocessing import Preprocessing
from benchmarks.imagenet_layout import read_index
from benchmarks.pixels import read_rgb
from benchmarks.schema import load_benchmark
from classification import robustness
from classification.augmentation import center_view
from classification.model import Classifier, load_classifier
from classification.robustness import chosen_places, main, on_pixels, right_of, summarize
from classification.robustness_protocol import CORRUPTIONS, robustness_protocol
from engine.results import StageResult
from engine.stage import run_stage

CLASSES = 3


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    toml: Path = make_benchmark(tmp_path_factory.mktemp("squares"))
    return toml


@pytest.fixture(scope="module")
def make_artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(*, classes: int | None = CLASSES) -> Path:
        folder = tmp_path_factory.mktemp("artifact") / "a"
        torch.manual_seed(3)
        backbone = create_backbone("resnet18d", width=0.125)
        head = None if classes is None else dict(Classifier(backbone, classes).head.state_dict())
        save_artifact(folder, backbone, {"weights": "trained", "seed": 3}, head=head)
        return folder

    return make


def words(artifact: Path, benchmark: Path, folder: Path) -> list[str]:
    return [
        "--artifact", str(artifact), "--benchmark", str(benchmark), "--seed", "5",
        "--work-dir", str(folder), "--result", str(folder / "result.json"),
    ]  # fmt: skip


def test_images_are_taken_evenly_and_within_the_limits() -> None:
    assert chosen_places(9) == list(range(9))
    assert chosen_places(1000) == list(range(0, 1000, 2))
    assert chosen_places(50_000) == list(range(0, 50_000, 10))
    assert len(chosen_places(200_000)) == 5000
    # 500 of 700 images in 7 classes: as many of each, give or take one.
    counts = np.bincount([place // 100 for place in chosen_places(700)])
    assert counts.max() - counts.min() <= 1


def test_metrics_are_means_of_what_was_counted() -> None:
    top1 = {("clean", 0): 90.0, ("fgsm", 1): 60.0, ("fgsm", 4): 20.0, ("ifgsm", 4): 5.0}
    levels = (1, 3, 5)
    for number, name in enumerate(CORRUPTIONS):
        top1 |= {(name, level): 50.0 + number - level for level in levels}
    metrics, details = summarize(top1)
    # 11 corruptions: number is 5 in the middle, level 3.
    assert metrics == {
        "clean_top1": 90.0,
        "fgsm_top1": 20.0,
        "ifgsm_top1": 5.0,
        "corruption_top1": pytest.approx(52.0),
    }
    assert details["fgsm_top1"] == {"1/255": 60.0, "4/255": 20.0}
    assert details["corruption_top1"]["gaussian_noise"] == pytest.approx(47.0)
    assert details["corruption_top1_by_level"] == {
        "1": pytest.approx(54.0), "3": pytest.approx(52.0), "5": pytest.approx(50.0),
    }  # fmt: skip


def test_a_threshold_on_grey_gives_way_where_its_margin_ends() -> None:
    """Class 1 where the mean pixel is above 0.5: a change of e levels moves it by e."""

    def network(images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], 1)

    # Margins of 0.5 (127.5 is in the middle), 2.5 and 12.5 levels, on both sides.
    greys = [128, 130, 140, 127, 125, 115]
    views = np.stack([np.full((8, 8, 3), grey, np.uint8) for grey in greys])
    labels = torch.tensor([1, 1, 1, 0, 0, 0])
    found = right_of(network, views, labels, places=list(range(6)))
    assert found["clean", 0] == 6
    assert (found["fgsm", 1], found["fgsm", 4], found["ifgsm", 4]) == (4, 2, 2)
    assert found["gaussian_blur", 5] == 6  # greys stay as they are
    assert found["brightness", 1] == 3  # 25.5 levels more: all are bright


def test_noise_follows_from_the_image_and_not_from_its_batch() -> None:
    generator = np.random.default_rng(0)
    views = generator.integers(0, 256, (6, 8, 8, 3), np.uint8)
    labels = torch.arange(6) % CLASSES
    weight = torch.from_numpy(generator.normal(size=(CLASSES, 192))).float()

    def network(images: Tensor) -> Tensor:
        return images.flatten(1) @ weight.T

    whole = right_of(network, views, labels, places=[4, 9, 2, 7, 1, 0])
    parts = right_of(network, views[:2], labels[:2], places=[4, 9])
    parts += right_of(network, views[2:], labels[2:], places=[2, 7, 1, 0])
    assert whole == parts


def test_pixels_become_the_backbones_own_input(make_artifact: Callable[..., Path]) -> None:
    classifier = load_classifier(make_artifact())
    prep = Preprocessing(mean=(100, 110, 120), std=(50, 60, 70), channel_order="BGR")
    classifier.backbone.preprocessing = prep
    pixels = torch.rand(2, 3, 32, 32)
    network = on_pixels(classifier, torch.device("cpu"), size=32)
    by_hand = (255 * pixels.numpy() - np.array([100, 110, 120]).reshape(3, 1, 1)) / np.array(
        [50, 60, 70]
    ).reshape(3, 1, 1)
    inputs = torch.from_numpy(np.ascontiguousarray(by_hand[:, ::-1])).float()
    with torch.no_grad():
        torch.testing.assert_close(network(pixels), classifier(inputs), rtol=1e-3, atol=1e-4)


def test_the_stage_on_real_files(
    make_artifact: Callable[..., Path], benchmark: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    artifact = make_artifact()
    main(words(artifact, benchmark, tmp_path))
    found = StageResult.read(tmp_path / "result.json")
    backbone, head = load_artifact(artifact), load_head(artifact)
    prep, right = backbone.preprocessing, 0
    samples = read_index(benchmark.parent / "imagenet", "val").samples
    for path, label in samples:
        view = center_view(read_rgb(path), size=32, resize_size=36).astype(np.float32)
        inputs = torch.from_numpy((view - np.array(prep.mean)) / np.array(prep.std)).float()
        with torch.no_grad():
            pooled = backbone(inputs.permute(2, 0, 1)[None])[-1].mean((2, 3))
        right += int((pooled @ head["weight"].T + head["bias"]).argmax()) == label
    assert found.metrics["clean_top1"].value == pytest.approx(100 * right / len(samples))
    assert found.metrics["corruption_top1"].n == len(samples) == 9
    assert found.status == "ok"
    assert set(found.per_class["corruption_top1"]) == set(CORRUPTIONS)
    data = json.loads((tmp_path / "result.json").read_text())["protocol"]["data"]
    assert found.protocol == robustness_protocol(load_benchmark(benchmark), data)
    again = tmp_path / "again"
    again.mkdir()
    main([*words(artifact, benchmark, again)])
    second = StageResult.read(again / "result.json")
    assert (second.metrics, second.per_class) == (found.metrics, found.per_class)


@pytest.mark.parametrize(("classes", "said"), [(None, "no classifier"), (7, "into 7 classes")])
def test_an_artifact_that_cannot_be_measured_is_a_users_mistake(
    make_artifact: Callable[..., Path], benchmark: Path, tmp_path: Path, classes: int | None,
    said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    artifact = make_artifact(classes=classes)
    assert run_stage(main, words(artifact, benchmark, tmp_path)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()


def test_the_evaluation_crop_is_that_of_the_recipe() -> None:
    budget = load_benchmark("mini").pretraining
    card: Any = SimpleNamespace(recipe={"evaluation_crop": 0.95}, architecture="resnet50d")
    assert robustness._evaluated_sizes(card, budget) == (64, 67)
    card = SimpleNamespace(recipe=None, architecture="resnet50d")
    assert robustness._evaluated_sizes(card, budget) == (64, 73)


def test_a_loaded_classifier_draws_from_no_generator(make_artifact: Callable[..., Path]) -> None:
    folder = make_artifact()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    classifier = load_classifier(folder)
    assert torch.equal(torch.rand(3), expected)
    assert not classifier.training
    assert isinstance(classifier.head, nn.Linear)
    assert torch.equal(classifier.head.weight, load_head(folder)["weight"])
