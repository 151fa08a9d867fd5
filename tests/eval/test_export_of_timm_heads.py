"""The classifier of a fine-tuned network of timm: whole in timm, or said to be left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones import create_backbone, save_artifact
from classification.model import load_classifier
from eval.cli import main
from eval.export.export import export
from eval.export.passing_on import passing_on
from eval.export.targets import ExportError

CLASSES = ("church", "tench", "truck")
Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(name) -> an artifact of timm's model with a classifier of three classes."""

    def made(name: str) -> Path:
        torch.manual_seed(0)
        backbone = create_backbone(f"timm:{name}")
        with torch.no_grad():
            for module in backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.1)
                    module.momentum = 1.0
            # Statistics of a batch, without which deep networks give all images the same.
            side = backbone.native_size
            backbone.train()(torch.randn(4, 3, side, side))
            backbone.eval()
        channels = backbone.features.channels[-1]
        head = {"weight": torch.randn(3, channels), "bias": torch.randn(3)}
        folder = tmp_path / "artifact"
        save_artifact(folder, backbone, {"weights": "trained", "classes": CLASSES}, head=head)
        return folder

    return made


def typed(text: str) -> Any:
    """The model, when somebody has typed the text."""
    names: dict[str, Any] = {}
    exec(text, names)
    return names["model"].eval()


def check_logits(artifact: Path, model: nn.Module, side: int) -> None:
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected, found = load_classifier(artifact)(images), model(images)
    # Not the biases alone.
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", ["timm", "huggingface"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_timm_loads_the_whole_classifier(
    make: Make, tmp_path: Path, name: str, target: str
) -> None:
    artifact = make(name)
    _, text = export(artifact, target, tmp_path / "out")
    model = typed(text)
    check_logits(artifact, model, side=160)
    assert model.num_classes == model.pretrained_cfg["num_classes"] == 3
    assert tuple(model.pretrained_cfg["label_names"]) == CLASSES
    assert "WITHOUT" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "tf_efficientnet_lite0",
        "mobilenetv2_050",
        "mobilenetv3_small_100",
        "mobilenetv3_large_100",
        "mobilenetv4_conv_small",
        "lcnet_050",
    ],
)
def test_timm_loads_the_classifier_of_networks_with_a_layer_before_it(
    make: Make, tmp_path: Path, name: str
) -> None:
    artifact = make(name)
    _, text = export(artifact, "timm", tmp_path / "out")
    check_logits(artifact, typed(text), side=128)


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet_gn", "test_nfnet"])
def test_a_classifier_that_timm_cannot_compute_is_said_to_be_left_out(
    make: Make, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(make(name)), "--to", "timm", "--out", str(out)]) == 0
    said = "# WITHOUT the classifier of the 3 classes"
    assert said in capsys.readouterr().out
    assert said in (out / "README.md").read_text()
    config = json.loads((out / "pretrained_cfg.json").read_text())
    assert config["num_classes"] == 0
    assert "label_names" not in config


@pytest.mark.slow
def test_a_transformer_that_knows_no_other_pooling_is_said_to_lack_its_classifier(
    make: Make, tmp_path: Path
) -> None:
    """timm's distilled DeiT asserts that it pools by its two tokens."""
    _, text = export(make("deit_tiny_distilled_patch16_224"), "timm", tmp_path / "out")
    assert "# WITHOUT the classifier" in text


def test_a_folder_of_the_hub_is_refused_where_only_the_maps_are_there(
    make: Make, tmp_path: Path
) -> None:
    artifact = make("test_convnext")
    with pytest.raises(ExportError, match="--to timm"):
        export(artifact, "huggingface", tmp_path / "out")


@pytest.mark.parametrize("activation", ["relu", "relu6", "silu", "gelu", "hard_swish"])
def test_timms_last_layers_pass_on_maps_of_up_to_1000(activation: str) -> None:
    model: Any = timm.create_model("test_efficientnet", num_classes=3, act_layer=activation).eval()
    channels = model.conv_head.in_channels
    last: Tensor = torch.rand(2, channels, 5, 7) * 2000 - 1000
    head = {"weight": torch.randn(3, channels), "bias": torch.randn(3)}
    model.load_state_dict({**model.state_dict(), **passing_on(model, head)})
    with torch.no_grad():
        found = model.forward_head(model.bn2(model.conv_head(last)))
    by_hand = last.mean(dim=(2, 3)) @ head["weight"].T + head["bias"]
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("normalized", [False, True])
def test_few_units_pass_on_an_activations_map_by_a_shift(normalized: bool) -> None:
    model: Any = timm.create_model("mobilenetv3_large_075", num_classes=3).eval()
    channels = model.conv_head.in_channels
    if normalized:  # as in MobileNetV4, with as many units as the map has channels
        model.conv_head = nn.Conv2d(channels, channels, 1, bias=False)
        model.norm_head = BatchNormAct2d(channels, eps=1e-3, act_layer=nn.ReLU).eval()
        model.act2, model.classifier = nn.Identity(), nn.Linear(channels, 3)
    assert model.conv_head.out_channels < 2 * channels
    last = nn.functional.hardswish(torch.randn(2, channels, 5, 7) * 5)
    head = {"weight": torch.randn(3, channels), "bias": torch.randn(3)}
    model.load_state_dict({**model.state_dict(), **passing_on(model, head)})
    with torch.no_grad():
        found = model.forward_head(last)
    by_hand = last.mean(dim=(2, 3)) @ head["weight"].T + head["bias"]
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("test_resnet", {}),
        ("test_efficientnet_gn", {}),
        ("test_efficientnet", {"act_layer": "mish"}),
    ],
)
def test_what_no_weights_make_pass_on_a_map_is_told(name: str, arguments: dict[str, str]) -> None:
    model = timm.create_model(name, num_classes=3, **arguments)
    assert passing_on(model, {"weight": torch.zeros(3, 8), "bias": torch.zeros(3)}) == {}
