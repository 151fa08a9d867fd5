"""SPEC: what each form means, and what is said to someone who mistypes one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backbones.catalog import UnknownNameError
from classification.names import split_recipe
from classification.recipes import RECIPES
from eval.specs import parse_spec, parse_specs


def test_a_trained_backbone_is_an_architecture_and_a_recipe() -> None:
    (spec,) = parse_spec("resnet50d_mixup_distill")
    assert (spec.kind, spec.architecture, spec.recipe) == (
        "trained",
        "resnet50d",
        "mixup_distill",
    )
    assert spec.tricks[-1] == "distillation"
    assert spec.control.name == "scratch:resnet50d"


@pytest.mark.parametrize(
    ("text", "architecture", "recipe"),
    [
        ("inception_v3_mixup", "inception_v3", "mixup"),
        ("mobilenet_mixup_distill", "mobilenet", "mixup_distill"),
        ("timm:resnext50_32x4d_usi", "timm:resnext50_32x4d", "usi"),
        ("timm:vit_tiny_patch16_224_rsb_a2", "timm:vit_tiny_patch16_224", "rsb_a2"),
        ("resnet50a_ladder1024_zero_gamma", "resnet50a", "ladder1024_zero_gamma"),
    ],
)
def test_any_architecture_can_be_pretrained(text: str, architecture: str, recipe: str) -> None:
    (spec,) = parse_spec(text)
    assert (spec.kind, spec.architecture, spec.recipe) == ("trained", architecture, recipe)
    assert spec.control.name == f"scratch:{architecture}"


def test_no_model_of_timm_is_taken_for_a_recipe() -> None:
    timm = pytest.importorskip("timm")
    names = [*timm.list_models(), *timm.list_pretrained()]
    assert len(names) > 1000
    assert [name for name in names if split_recipe(name) is not None] == []


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("scratch:resnet18b", "scratch:resnet18b"),
        ("scratch:timm:resnet50.a1_in1k", "scratch:timm:resnet50.a1_in1k"),
        ("timm:resnet50.a1_in1k", "scratch:timm:resnet50.a1_in1k"),
        ("torchvision:resnet50@IMAGENET1K_V2", "scratch:torchvision:resnet50"),
    ],
)
def test_the_control_is_the_same_architecture_from_random_weights(text: str, control: str) -> None:
    (spec,) = parse_spec(text)
    assert spec.name == text
    assert spec.control.name == control
    assert spec.control.is_control
    assert spec.control.architecture == spec.architecture


def test_a_weights_file_is_found_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"w")
    monkeypatch.chdir(tmp_path)
    (spec,) = parse_spec("timm:tf_efficientnet_lite0@weights.pth")
    assert spec.file == tmp_path / "weights.pth"
    assert spec.architecture == "timm:tf_efficientnet_lite0"
    assert spec.control.name == "scratch:timm:tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("architecture", "kind", "control"),
    [
        ("resnet50d", "file", "scratch:resnet50d"),
        ("inception_v3", "file", "scratch:inception_v3"),
        ("timm:resnet18.a1_in1k", "timm", "scratch:timm:resnet18.a1_in1k"),
        ("torchvision:resnet50", "torchvision", "scratch:torchvision:resnet50"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w@1:2.bin", "w.safetensors"])
def test_every_architecture_takes_a_weights_file(
    architecture: str, kind: str, control: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"w")
    (spec,) = parse_spec(f"{architecture}@{tmp_path / name}")
    assert (spec.kind, spec.architecture, spec.file) == (kind, architecture, tmp_path / name)
    assert spec.name == f"{architecture}@{name}"
    assert spec.control.name == control
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_bytes(b"x")
    both = [f"{architecture}@{tmp_path / part / name}" for part in ("", "other")]
    with pytest.raises(ValueError, match="two files bear the name"):
        parse_specs(both)


def test_where_no_name_is_near_the_forms_are_said() -> None:
    for text in ("zzz", "resnet50d_qqqq"):
        with pytest.raises(UnknownNameError) as error:
            parse_spec(text)
        assert "nearest" not in str(error.value)
        assert "hf:<org>/<name>" in str(error.value) or "all: standard" in str(error.value)


def test_a_name_of_the_hub_without_its_prefix_is_guessed_at() -> None:
    with pytest.raises(ValueError, match=r"is hf:timm/resnet18\.a1_in1k"):
        parse_spec("timm/resnet18.a1_in1k")


def test_a_missing_weights_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no file at {tmp_path}/none.pth"):
        parse_spec(f"timm:resnet50@{tmp_path}/none.pth")


def test_wildcards_stand_for_every_recipe_or_architecture_in_order() -> None:
    assert [spec.name for spec in parse_spec("resnet50d_*")] == [
        f"resnet50d_{recipe}" for recipe in RECIPES
    ]
    assert [spec.name for spec in parse_spec("scratch:resnet*d")] == [
        f"scratch:resnet{depth}d" for depth in (18, 34, 50, 101, 152)
    ]


def test_a_backbone_named_twice_counts_once() -> None:
    specs = parse_specs(["resnet50d_mixup", "resnet50d_mix*", "resnet50d_mixup"])
    assert [spec.name for spec in specs] == ["resnet50d_mixup", "resnet50d_mixup_distill"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resnet50d_mixp", "mixup"),
        ("resnt50d_mixup", "resnet50d"),
        ("resnet50d", "resnet50d_<recipe>"),
        ("scratch:resnet50", "resnet50d"),
        ("scratch:resnet50d_mixup", "resnet50d"),
        ("tim:resnet50", "timm:"),
        ("timm:", "timm:<model>"),
        ("resnt50d@w.pth", "resnet50d"),
        ("hf:tiny", "hf:<organization>/<name>"),
        ("resnet50d_mixup@w.pth", "resnet50d"),
        ("resnet51d_*", "resnet50d_"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        parse_spec(text)
    assert said in str(error.value)


def test_an_artifact_brings_its_architecture_and_tricks(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    card = {
        "schema": 1,
        "architecture": "resnet34c",
        "arguments": {"width": 0.25},
        "weights": "trained",
        "recipe": {"tricks": {"mixup": {"alpha": 0.2}}},
        "preprocessing": {"mean": [1, 2, 3], "std": [1, 1, 1]},
        "features": {"channels": [1, 2, 3, 4], "strides": [4, 8, 16, 32]},
        "sha256": "0" * 64,
    }
    (folder / "card.json").write_text(json.dumps(card))
    (spec,) = parse_spec(str(folder))
    assert (spec.kind, spec.file, spec.tricks) == ("artifact", folder, ("mixup",))
    assert spec.control.name == "scratch:resnet34c"


@pytest.mark.parametrize("text", ["./nowhere", "some/where", ""])
def test_no_artifact_there_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"no artifact|empty"):
        parse_spec(text)


def test_a_broken_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ValueError, match=r"card\.json"):
        parse_spec(str(tmp_path))
