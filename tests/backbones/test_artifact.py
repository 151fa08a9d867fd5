from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import backbones.artifact
from backbones import (
    IMAGENET_PAPER,
    ArtifactError,
    Card,
    FeatureSpec,
    create_backbone,
    load_artifact,
    load_head,
    read_card,
    save_artifact,
    verify_artifact,
)
from backbones.artifact import load_backbone_state
from backbones.atomic import sha256_file

Perturb = Callable[..., nn.Module]


@pytest.fixture
def copied(artifact: Path, tmp_path: Path) -> Path:
    """An artifact that a test may spoil."""
    return Path(shutil.copytree(artifact, tmp_path / "artifact"))


def read_by_hand(directory: Path) -> dict[str, Any]:
    """The card's JSON without its checksum, to be changed."""
    card = json.loads((directory / "card.json").read_text())
    del card["checksum"]
    return dict(card)


def rewrite_weights(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes tensors and makes the card's checksum agree, so that only the keys are wrong."""
    path = directory / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path)
    card = read_by_hand(directory)
    card["sha256"] = sha256_file(path)
    (directory / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    "name",
    [
        *("resnet50d", "resnet18a", "inception_v3", "mobilenet"),
        *("timm:mobilenetv3_small_050", "timm:test_vit", "torchvision:resnet18"),
    ],
)
def test_round_trip_is_equal_bit_for_bit(name: str, tmp_path: Path, perturb: Perturb) -> None:
    backbone = create_backbone(name, width=1.0 if ":" in name else 0.25)
    perturb(backbone)
    backbone.eval()
    save_artifact(tmp_path / "a", backbone, {"weights": "random", "seed": 0})
    loaded = load_artifact(tmp_path / "a")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(backbone(images), loaded(images), strict=True):
            assert torch.equal(a, b)
    assert list(loaded.state_dict()) == list(backbone.state_dict()), "no key is renamed"
    assert loaded.features == backbone.features
    assert loaded.preprocessing == backbone.preprocessing
    verify_artifact(tmp_path / "a", backbone, images)


def test_any_artifact_can_be_loaded_dilated(artifact: Path) -> None:
    dilated = load_artifact(artifact, output_stride=8)
    assert dilated.features.strides == (4, 8, 8, 8)
    assert dilated.card is not None
    assert dilated.card.features.strides == (4, 8, 16, 32)


def test_loading_gives_eval_mode_and_leaves_the_generator_alone(artifact: Path) -> None:
    before = torch.get_rng_state()
    assert not load_artifact(artifact).training
    assert torch.equal(torch.get_rng_state(), before)


def test_the_files(artifact: Path) -> None:
    assert sorted(os.listdir(artifact)) == ["README.md", "card.json", "model.safetensors"]
    # The format's header: its length in 8 bytes, then JSON. No pickle.
    data = (artifact / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert {"layer1.0.conv1.weight", "head.weight", "head.bias"} <= set(header)
    readme = (artifact / "README.md").read_text()
    assert readme.startswith("# resnet18d")
    assert "16, 32, 64, 128" in readme


def test_the_card(artifact: Path) -> None:
    raw = json.loads((artifact / "card.json").read_text())
    assert raw["schema"] == 1
    assert raw["architecture"] == "resnet18d"
    assert raw["arguments"] == {"width": 0.25}
    assert raw["features"] == {"channels": [16, 32, 64, 128], "strides": [4, 8, 16, 32]}
    assert raw["metrics"] is None
    assert raw["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert raw["sha256"] == sha256_file(artifact / "model.safetensors")
    card = read_card(artifact)
    assert card.preprocessing == IMAGENET_PAPER
    checksum = raw.pop("checksum")
    assert card.to_dict() == raw
    # As another program would compute it: keys in order, no spaces, ASCII.
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    assert checksum == hashlib.sha256(text.encode("ascii")).hexdigest()


def test_a_full_card_comes_back(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18b", width=0.125)
    card = Card(
        architecture="resnet18b",
        arguments={"width": 0.125},
        weights="trained",
        recipe={"tricks": [{"name": "mixup", "alpha": 0.2}]},
        preprocessing=IMAGENET_PAPER,
        features=FeatureSpec(channels=(8, 16, 32, 64), strides=(4, 8, 16, 32)),
        metrics={"top1": 45.5, "top5": 90.0, "n": 600},
        dataset={"name": "mini", "digest": "ab12"},
        seed=3,
        cost={"seconds": 12.5, "parameters": 1000},
        git_revision="0123abc",
        notes={"remark": "x"},
    )
    saved = save_artifact(tmp_path / "a", backbone, card)
    assert saved == read_card(tmp_path / "a")
    kept = {"sha256": None, "versions": {}}
    assert saved.model_copy(update=kept) == card
    readme = (tmp_path / "a" / "README.md").read_text()
    assert "top-1 45.50%" in readme
    assert '"mixup"' in readme


def test_the_head(artifact: Path, tmp_path: Path) -> None:
    head = load_head(artifact)
    assert {name: tuple(t.shape) for name, t in head.items()} == {
        "weight": (10, 128),
        "bias": (10,),
    }
    save_artifact(
        tmp_path / "a", create_backbone("resnet18b", width=0.125), {"weights": "random", "seed": 0}
    )
    with pytest.raises(ArtifactError, match="no classifier"):
        load_head(tmp_path / "a")


@pytest.mark.parametrize("load", [load_artifact, load_head])
def test_a_flipped_byte_is_refused(copied: Path, load: Callable[[Path], Any]) -> None:
    path = copied / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        load(copied)


@pytest.mark.reliability(
    4, "A byte of an artifact's card or weights that changes is refused by its checksum."
)
def test_a_flipped_byte_anywhere_is_refused(copied: Path, measured: Callable[[str], None]) -> None:
    expected, path = read_card(copied), copied / "card.json"
    data, equal = path.read_bytes(), 0
    flips = list(flipped(data, range(len(data))))
    for damaged in flips:
        path.write_bytes(damaged)
        with suppress(ArtifactError):
            # 1E-05 for 1e-05, or another kind of space
            assert read_card(copied) == expected
            equal += 1
    assert equal < 0.1 * len(flips)
    measured(f"card.json: {len(flips) - equal} flips refused, {equal} without effect accepted")
    path.write_bytes(data)

    path = copied / "model.safetensors"
    data = path.read_bytes()
    places = [*range(0, 2000, 50), *range(2000, len(data), len(data) // 50), len(data) - 1]
    for damaged in flipped(data, places):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"model\.safetensors is damaged"):
            load_backbone_state(copied)
    measured(f"model.safetensors: {len(places)} flips, all refused")


def flipped(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    for place in places:
        bit = 1 << place % 8
        yield data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def test_a_card_written_by_hand_needs_no_checksum(copied: Path) -> None:
    expected = read_card(copied)
    (copied / "card.json").write_text(json.dumps(read_by_hand(copied)))
    assert read_card(copied) == expected


def test_missing_and_unexpected_keys_are_listed(copied: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors["layer9.weight"] = tensors.pop("layer1.0.bn1.weight")
        tensors["bn1.bias"] = torch.zeros(3)

    rewrite_weights(copied, change)
    with pytest.raises(ArtifactError) as caught:
        load_artifact(copied)
    message = str(caught.value)
    assert "missing keys: layer1.0.bn1.weight" in message
    assert "unexpected keys: layer9.weight" in message
    assert "bn1.bias (3,) instead of (16,)" in message


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        load_artifact(copied)


def test_no_artifact_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        load_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"surprise": 1},
        {"weights": "stolen"},
        {"sha256": None},
        {"features": {"channels": [1], "strides": [4, 8]}},
        {"preprocessing": {"mean": [1, 2, 3]}},
        {"arguments": {"width": 0.25, "depth": 3}},
        {"metrics": {"top1": 1.0}},
    ],
)
def test_a_card_of_another_shape_is_refused(copied: Path, change: dict[str, Any]) -> None:
    card = read_by_hand(copied)
    (copied / "card.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(ArtifactError, match=r"card\.json"):
        read_card(copied)


def test_a_card_of_another_architecture_is_refused(copied: Path) -> None:
    card = read_by_hand(copied)
    (copied / "card.json").write_text(json.dumps({**card, "architecture": "resnet18b"}))
    with pytest.raises(ArtifactError, match="do not fit resnet18b"):
        load_artifact(copied)


def test_a_card_without_names_of_classes_is_read(copied: Path) -> None:
    """As cards were before they had them."""
    card = read_by_hand(copied)
    del card["classes"]
    (copied / "card.json").write_text(json.dumps(card))
    assert read_card(copied).classes is None


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_save_leaves_the_old_artifact_or_none(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    before = {p.name: p.read_bytes() for p in copied.iterdir()}

    def interrupt(*_: object) -> None:
        raise error

    # The weights are written by then, the card is not.
    monkeypatch.setattr(backbones.artifact, "write_checked_json", interrupt)
    backbone = create_backbone("resnet18b", width=0.125)
    for directory in (copied, tmp_path / "new"):
        with pytest.raises(error):
            save_artifact(directory, backbone, {"weights": "random", "seed": 0})
    assert {p.name: p.read_bytes() for p in copied.iterdir()} == before
    assert os.listdir(tmp_path) == ["artifact"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="not replaced"):
        save_artifact(home, create_backbone("resnet18b", width=0.125), {"weights": "random"})
    assert os.listdir(home) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "card", "said"),
    [
        ({}, {"weights": "random", "architecture": "resnet18d"}, "architecture"),
        ({}, {"weights": "random", "arguments": {"width": 1.0}}, "arguments"),
        ({}, {"seed": 0}, "weights"),
        ({"output_stride": 8}, {"weights": "random"}, "output_stride 32"),
    ],
)
def test_a_card_that_contradicts_the_backbone_is_refused(
    tmp_path: Path, arguments: dict[str, Any], card: dict[str, Any], said: str
) -> None:
    backbone = create_backbone("resnet18b", width=0.125, **arguments)
    with pytest.raises(ArtifactError, match=said):
        save_artifact(tmp_path / "a", backbone, card)
    assert not (tmp_path / "a").exists()


def test_verify_finds_a_difference_of_one_bit(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18b", width=0.125)
    save_artifact(tmp_path / "a", backbone, {"weights": "random", "seed": 0})
    images = torch.randn(1, 3, 64, 64)
    channels_last = create_backbone("resnet18b", width=0.125)
    channels_last.load_state_dict(backbone.state_dict())
    channels_last.to(memory_format=torch.channels_last)
    verify_artifact(tmp_path / "a", channels_last.train(), images)
    assert channels_last.training
    with torch.no_grad():
        weight = backbone.get_parameter("layer4.1.bn2.weight")
        weight[0] = torch.nextafter(weight[0], torch.tensor(2.0))
    with pytest.raises(ArtifactError, match=r"layer4\.1\.bn2\.weight"):
        verify_artifact(tmp_path / "a", backbone, images)


def test_channels_last_weights_are_saved_as_they_are(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18b", width=0.125).to(memory_format=torch.channels_last)
    save_artifact(tmp_path / "a", backbone, {"weights": "random", "seed": 0})
    loaded = load_artifact(tmp_path / "a").state_dict()
    assert all(torch.equal(t, loaded[name]) for name, t in backbone.state_dict().items())
