"""A classifier with hidden layers: exported where the target can hold it, refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backbones import create_backbone, save_artifact
from backbones.card import ArtifactError
from classification.model import Classifier, load_classifier
from eval.export.export import export
from eval.export.source import load_source
from eval.export.targets import ExportError


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    model = Classifier(create_backbone("resnet18d", width=0.125), 3, hidden=(16, 8))
    save_artifact(
        tmp_path / "a", model.backbone, {"weights": "trained"}, head=dict(model.head.state_dict())
    )
    return tmp_path / "a"


def test_it_is_read_with_all_its_layers(artifact: Path) -> None:
    images = torch.randn(2, 3, 32, 32)
    source = load_source(artifact)
    assert source.num_classes == 3
    torch.testing.assert_close(source.logits(images), load_classifier(artifact)(images))


def test_what_has_one_linear_layer_is_told_from_it(artifact: Path) -> None:
    with pytest.raises(ExportError, match=r"timm's networks have one linear layer .* has 2 hidden"):
        load_source(artifact).check_linear("timm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "architecture"), [("torchvision", "resnet50b"), ("timm", "resnet18d")]
)
def test_libraries_whose_heads_are_linear_are_refused(
    target: str, architecture: str, tmp_path: Path
) -> None:
    model = Classifier(create_backbone(architecture), 3, hidden=(8,))
    head = dict(model.head.state_dict())
    save_artifact(tmp_path / "b", model.backbone, {"weights": "trained"}, head=head)
    with pytest.raises(ExportError, match=r"has 1 hidden .* Possible: mmdet, mmseg, onnx$"):
        export(tmp_path / "b", target, tmp_path / "out")


def test_a_head_with_a_layer_half_there_is_refused(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18d", width=0.125)
    head = {"weight": torch.zeros(3, 64), "bias": torch.zeros(3), "hidden.0.bias": torch.zeros(64)}
    save_artifact(tmp_path / "a", backbone, {"weights": "trained"}, head=head)
    with pytest.raises(ArtifactError, match=r"after hidden"):
        load_source(tmp_path / "a")
