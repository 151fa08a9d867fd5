"""A classifier of an artifact asked about files: as the network computed by hand says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from backbones import create_backbone
from backbones.artifact import save_artifact
from backbones.card import ArtifactError
from benchmarks.errors import DataError
from classification.predict import load_predictor

CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18d", width=0.125).eval()
    head = {"weight": torch.randn(3, backbone.features.channels[-1]), "bias": torch.randn(3)}
    folder = tmp_path_factory.mktemp("classifier") / "artifact"
    card = {
        "weights": "trained",
        "classes": CLASSES,
        "metrics": {"top1": 50.0, "top5": 100.0, "n": 4},
        "dataset": {"name": "pets", "train_size": 32, "eval_size": 32, "resize_size": 32},
    }
    save_artifact(folder, backbone, card, head=head)
    return folder


def test_probabilities_are_those_of_the_network_by_hand(artifact: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    files = [tmp_path / f"{index}.png" for index in range(2)]
    for file, image in zip(files, images, strict=True):
        assert cv2.imwrite(str(file), image[:, :, ::-1])  # as RGB
    state = load_file(artifact / "model.safetensors")
    head = {name[5:]: state.pop(name) for name in list(state) if name.startswith("head.")}
    backbone = create_backbone("resnet18d", width=0.125).eval()
    backbone.load_state_dict(state)
    prep = backbone.preprocessing
    pixels = (torch.tensor(images).double() - torch.tensor(prep.mean)) / torch.tensor(prep.std)
    with torch.no_grad():
        pooled = backbone(pixels.float().permute(0, 3, 1, 2))[-1].mean((2, 3))
        expected = (pooled @ head["weight"].T + head["bias"]).softmax(1).numpy()
    predictor = load_predictor(artifact)
    np.testing.assert_allclose(predictor.probabilities(files), expected, atol=2e-4)
    said = predictor(files[0])
    assert list(said) == [CLASSES[place] for place in np.argsort(-expected[0])]
    assert sum(said.values()) == pytest.approx(1, abs=1e-5)


def test_what_is_no_image_or_no_classifier_is_refused(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg: there is no such file"):
        load_predictor(artifact)(tmp_path / "none.jpg")
    pixels: Any = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(TypeError, match="the path of an image file, not ndarray"):
        load_predictor(artifact)(pixels)
    save_artifact(
        tmp_path / "bare", create_backbone("resnet18d", width=0.125), {"weights": "random"}
    )
    with pytest.raises(ArtifactError, match="bare"):
        load_predictor(tmp_path / "bare")
