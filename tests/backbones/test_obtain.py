from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch

from backbones import load_artifact, load_head, obtain, read_card
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


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("scratch:resnet50", "resnet50a"),
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
    assert "Missing keys: conv_stem.weight" in capsys.readouterr().err
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
