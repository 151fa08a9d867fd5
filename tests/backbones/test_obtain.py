from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from backbones import create_backbone, load_artifact, load_head, obtain, read_card
from backbones.catalog import UnknownNameError
from backbones.obtain import main, parse_source


def test_random_weights_come_from_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(100 + i)
        spec = ["--backbone", "scratch:resnet18d", "--width", "0.25", "--seed", str(seed)]
        assert main([*spec, "--artifact", str(tmp_path / str(i))]) == 0
        card = read_card(tmp_path / str(i))
        assert (card.weights, card.seed, card.metrics) == ("random", seed, None)
        assert card.arguments["width"] == 0.25
        digests.append(card.sha256)
    assert digests[0] == digests[1] != digests[2]
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3, "one line each"
    assert printed.err == ""


def test_random_weights_of_timm_have_timms_preprocessing(tmp_path: Path) -> None:
    """The width of a benchmark is for our ResNets: timm's models come in their own sizes."""
    spec = "scratch:timm:mobilenetv3_small_050"
    one = obtain.obtain(spec, tmp_path / "1", seed=5, width=0.25)
    two = obtain.obtain(spec, tmp_path / "2", seed=5, width=1.0)
    assert one.sha256 == two.sha256
    assert one.arguments["width"] == 1.0
    assert one.preprocessing.interpolation == "bicubic"
    assert one.weights == "random"


def test_a_file_of_timm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = timm.create_model("mobilenetv3_small_050").eval()
    path = tmp_path / "w@1.pth"
    names = (f"_{i}.{k.rpartition('.')[2]}" for i, k in enumerate(model.state_dict()))
    torch.save(dict(zip(names, model.state_dict().values(), strict=True)), path)
    spec = f"timm:mobilenetv3_small_050@{path}"
    assert main(["--backbone", spec, "--artifact", str(tmp_path / "a")]) == 0
    assert "by position" in capsys.readouterr().out
    card = read_card(tmp_path / "a")
    assert (card.weights, card.seed, card.metrics) == ("imported", None, None)
    assert card.notes["weights_mapping"] == "by position"
    assert card.notes["weights_file"] == "w@1.pth"
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = load_artifact(tmp_path / "a")(images)
        theirs = model.forward_intermediates(images, intermediates_only=True)
    # timm's own intermediate outputs, by another road than its feature network.
    assert torch.equal(ours[-1], theirs[-1])


def test_a_file_of_torchvision_brings_its_classifier(tmp_path: Path) -> None:
    import torchvision

    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    spec = f"torchvision:resnet18@{tmp_path / 'resnet18.pth'}"
    card = obtain.obtain(spec, tmp_path / "a", seed=0)
    assert card.architecture == "torchvision:resnet18"
    assert torch.equal(load_head(tmp_path / "a")["weight"], state["fc.weight"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_our_own_architecture(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training checkpoint of a compiled, wrapped classifier: its backbone, tensor for tensor."""
    torch.manual_seed(3)
    state = create_backbone("resnet18d", width=0.125).state_dict()
    given = {f"module.backbone._orig_mod.{name}": tensor for name, tensor in state.items()}
    given["module.head.weight"] = torch.zeros(7, 64)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save({"epoch": 9, "state_dict": given}, path)
    else:
        safetensors.torch.save_file(given, path)
    spec = ["--backbone", f"resnet18d@{path}", "--artifact", str(tmp_path / "a")]
    assert main([*spec, "--width", "0.125"]) == 0
    printed = capsys.readouterr().out
    assert "module.backbone._orig_mod." in printed
    assert "left out, a classifier: module.head.weight" in printed
    assert ("under 'state_dict'" in printed) == (suffix == ".pth")
    card = read_card(tmp_path / "a")
    assert (card.architecture, card.weights) == ("resnet18d", "imported")
    assert card.notes["weights_left"] == ["module.head.weight"]
    assert card.notes["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_artifact(tmp_path / "a").state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_another_width_is_told_with_both_shapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(create_backbone("resnet18d", width=0.125).state_dict(), tmp_path / "w.pth")
    spec = ["--backbone", f"resnet18d@{tmp_path / 'w.pth'}", "--artifact", str(tmp_path / "a")]
    assert main([*spec, "--width", "0.25"]) == 1
    said = capsys.readouterr().err
    assert "layer1.0.conv1.weight (8, 8, 3, 3) instead of (16, 16, 3, 3)" in said
    assert said.startswith("error: the benchmark's width is 0.25, the file's 0.125: ")
    assert ".;" not in said


def test_weights_of_torchvision_bring_their_transforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of torch's cache, as a download leaves it there."""
    import torchvision

    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    file = tmp_path / "hub/checkpoints" / entry.url.rpartition("/")[2]
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, file)
    card = obtain.obtain("torchvision:resnet18@IMAGENET1K_V1", tmp_path / "a", seed=0)
    preset = entry.transforms()
    assert card.preprocessing.mean == pytest.approx([255 * v for v in preset.mean])
    assert card.preprocessing.std == pytest.approx([255 * v for v in preset.std])
    assert card.preprocessing.interpolation == preset.interpolation.value
    assert card.notes["weights_name"] == "IMAGENET1K_V1"
    assert card.notes["weights_url"] == entry.url
    assert card.notes["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card.notes["published"]["crop_pct"] == 0.875


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("scratch:resnet50", "resnet50a"),
        ("hf:tiny", "hf:<organization>/<name>"),
        ("resnt50d@w.pth", "resnet50d"),
        ("resnet50d_mixup", "scratch:<architecture>"),
        ("timm:resnat18", "resnet18"),
        ("timm:resnet18@", "after @"),
        ("torchvision:alexnet", "resnet50"),
    ],
)
def test_wrong_usage_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: str, said: str
) -> None:
    assert main(["--backbone", spec, "--artifact", str(tmp_path / "a")]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert not (tmp_path / "a").exists()


def test_weights_that_do_not_fit_are_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "x.pth")
    spec = f"timm:mobilenetv3_small_050@{tmp_path / 'x.pth'}"
    assert main(["--backbone", spec, "--artifact", str(tmp_path / "a")]) == 1
    assert "conv_stem.weight" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_parse() -> None:
    source = parse_source("timm:resnet18@/a@b.pth")
    assert (source.architecture, source.random, source.weights) == (
        "timm:resnet18",
        False,
        "/a@b.pth",
    )
    assert parse_source("scratch:timm:resnet18").random
    with pytest.raises(UnknownNameError):
        parse_source("scratch:scratch:resnet18a")


def test_as_a_command_a_typing_error_is_answered_at_once(tmp_path: Path) -> None:
    options = ["--backbone", "scratch:resnet50", "--artifact", str(tmp_path / "a")]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "backbones.obtain", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path.cwd(),
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    # A second is promised; a busy machine gets twice that.
    assert time.monotonic() - started < 2
