from __future__ import annotations

import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import torchvision
from torch import nn

from backbones.catalog import UnknownNameError
from backbones.torchvision_models import import_torchvision, torchvision_backbone
from backbones.weights_file import WeightsError


@pytest.fixture
def theirs(perturb: Callable[..., nn.Module]) -> Any:
    torch.manual_seed(0)
    return perturb(torchvision.models.resnet18()).eval()


def test_a_file_gives_torchvisions_logits(theirs: Any, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    backbone, head, imported = import_torchvision("resnet18", str(tmp_path / "resnet18.pth"))
    assert (imported.mapping, imported.tensors) == ("by name", 122)
    assert backbone.architecture == "torchvision:resnet18"
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        pooled = backbone.eval()(images)[-1].mean((2, 3))
        logits = nn.functional.linear(pooled, head["weight"], head["bias"])
        torch.testing.assert_close(logits, theirs(images))


def test_a_wrong_file_lists_the_keys(theirs: Any, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"Missing keys \(80\): layer1\.2\.conv1\.weight"):
        import_torchvision("resnet34", str(tmp_path / "resnet18.pth"))


def test_preprocessing_is_that_of_the_weights() -> None:
    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    ours = torchvision_backbone("resnet50").preprocessing
    assert ours.mean == pytest.approx([255 * v for v in preset.mean])
    assert ours.std == pytest.approx([255 * v for v in preset.std])
    assert ours.interpolation == preset.interpolation.value


def test_unknown_names_say_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="resnet50"):
        torchvision_backbone("vgg16")
    with pytest.raises(UnknownNameError, match="IMAGENET1K_V1"):
        import_torchvision("resnet18", "IMAGENET1K_V9")


def test_without_network_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*_: object, **__: object) -> NoReturn:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    with pytest.raises(WeightsError, match="torchvision:resnet18@FILE"):
        import_torchvision("resnet18", "IMAGENET1K_V1")
    assert capsys.readouterr() == ("", "")
