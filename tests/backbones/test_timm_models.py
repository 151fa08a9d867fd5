"""timm's models through our interface, against timm's own loading and features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from backbones.catalog import UnknownNameError
from backbones.timm_models import import_timm, timm_backbone
from backbones.weights_file import WeightsError

SMALL = "mobilenetv3_small_050"
Perturb = Callable[..., nn.Module]


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory, perturb: Perturb) -> Path:
    """A weights file of the small model with timm's own names."""
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.manual_seed(1)
    torch.save(perturb(timm.create_model(SMALL)).state_dict(), path)
    return path


def timms_levels(name: str, file: Path, images: Tensor) -> list[Tensor]:
    """As timm itself loads a file into its feature network: the four levels from stride 4 on."""
    model = timm.create_model(
        name, features_only=True, pretrained=True, pretrained_cfg_overlay={"file": str(file)}
    )
    with torch.no_grad():
        return model.eval()(images)[-4:]


def test_a_file_by_name_gives_timms_features(small_file: Path) -> None:
    backbone, imported = import_timm(SMALL, small_file)
    assert (imported.mapping, imported.tensors) == ("by name", 244)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        levels = backbone.eval()(images)
    for ours, theirs in zip(levels, timms_levels(SMALL, small_file, images), strict=True):
        assert torch.equal(ours, theirs)


def test_a_file_by_position_gives_the_same(small_file: Path, tmp_path: Path) -> None:
    state = torch.load(small_file, weights_only=True)
    names = {k: f"_block{i}.{k.rpartition('.')[2]}" for i, k in enumerate(state)}
    torch.save({names[k]: t for k, t in state.items()}, tmp_path / "renamed.pth")
    by_position, imported = import_timm(SMALL, tmp_path / "renamed.pth")
    assert (imported.mapping, imported.tensors) == ("by position", 244)
    by_name, _ = import_timm(SMALL, small_file)
    expected = by_name.state_dict()
    for name, tensor in by_position.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_classifier_of_other_classes_is_no_obstacle(tmp_path: Path) -> None:
    torch.save(timm.create_model(SMALL, num_classes=7).state_dict(), tmp_path / "seven.pth")
    _, imported = import_timm(SMALL, tmp_path / "seven.pth")
    assert imported.mapping == "by name"


def test_a_wrong_file_lists_the_keys(small_file: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        import_timm("resnet18", small_file)
    message = str(caught.value)
    assert "Missing keys (96): conv1.weight" in message
    assert "): conv_stem.weight" in message
    assert "bn1.weight (16,) instead of (64,)" in message


def test_a_file_without_one_layer_is_refused(small_file: Path, tmp_path: Path) -> None:
    state = torch.load(small_file, weights_only=True)
    del state["classifier.bias"]
    torch.save(state, tmp_path / "partial.pth")
    with pytest.raises(WeightsError, match=r"Missing keys \(1\): classifier\.bias\."):
        import_timm(SMALL, tmp_path / "partial.pth")


@pytest.mark.parametrize(
    "name", ["resnet18", SMALL, "convnext_atto", "tf_efficientnet_lite0", "tiny_vit_5m_224"]
)
def test_the_feature_spec_is_what_comes_out(name: str) -> None:
    backbone = timm_backbone(name).eval()
    spec = backbone.features
    assert spec.strides == (4, 8, 16, 32)
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [
        (1, c, 64 // s, 96 // s) for c, s in zip(spec.channels, spec.strides, strict=True)
    ]


def test_levels_of_transformers_are_channels_first() -> None:
    backbone = timm_backbone("swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, 224, 224))
    assert [tuple(level.shape) for level in levels] == [
        (1, 96, 56, 56),
        (1, 192, 28, 28),
        (1, 384, 14, 14),
        (1, 768, 7, 7),
    ]


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated(output_stride: int, small_file: Path) -> None:
    backbone = timm_backbone(SMALL, output_stride=output_stride).eval()
    assert backbone.features.strides == tuple(min(s, output_stride) for s in (4, 8, 16, 32))
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, 64, 64))
    assert [64 // level.shape[-1] for level in levels] == list(backbone.features.strides)


def test_preprocessing_is_timms() -> None:
    lite = timm_backbone("tf_efficientnet_lite0").preprocessing
    assert (lite.mean, lite.std, lite.interpolation) == ((127.5,) * 3, (127.5,) * 3, "bicubic")
    imagenet = timm_backbone(SMALL).preprocessing
    assert imagenet.mean == (123.675, 116.28, 103.53)
    assert imagenet.std == (58.395, 57.12, 57.375)


def test_what_each_level_depends_on() -> None:
    backbone = timm_backbone("resnet18")
    names = {id(p): n for n, p in backbone.named_parameters()}
    parts = [{names[id(p)].split(".")[1] for p in backbone.parameters_until(k)} for k in range(5)]
    assert parts[0] == {"conv1", "bn1"}
    assert parts[1] == parts[0] | {"layer1"}
    assert parts[2] == parts[1] | {"layer2"}
    assert len(backbone.parameters_until(4)) == len(list(backbone.parameters()))


def test_the_stem_without_a_level_of_its_own() -> None:
    backbone = timm_backbone("convnext_atto")
    names = {id(p): n for n, p in backbone.named_parameters()}
    stem = {names[id(p)] for p in backbone.parameters_until(0)}
    assert stem == {f"body.stem_{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}


def test_copies_compute_the_same() -> None:
    """An exponential moving average deep-copies the model."""
    backbone = timm_backbone(SMALL).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(backbone(images), copy.deepcopy(backbone)(images), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnat18", "nearest are resnet18"), ("resnet18.a1_in2k", "resnet18.a1_in1k")],
)
def test_unknown_models_say_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        timm_backbone(name)


def test_a_model_that_cannot_be_dilated_is_refused() -> None:
    with pytest.raises(ValueError, match="no dilated form"):
        timm_backbone("pvt_v2_b0", output_stride=8)


def test_without_network_and_file_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="timm:resnet18@FILE"):
        import_timm("resnet18")


def test_a_model_without_published_weights_says_so() -> None:
    name = next(n for n in timm.list_models() if not timm.is_model_pretrained(n))
    with pytest.raises(WeightsError, match=f"{name}@FILE"):
        import_timm(name)
