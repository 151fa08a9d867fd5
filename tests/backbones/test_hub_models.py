"""Models of the Hugging Face hub without a network: folders in the layout of its client's cache."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from torch import nn

from backbones import load_artifact, obtain
from backbones.catalog import UnknownNameError
from backbones.hub import HubError
from backbones.huggingface_models import find_hub_model, split_hub_name

COMMITS = ("a" * 40, "b" * 40)
README = "---\nlicense: cc-by-4.0\ntags:\n- timm\n---\n# tiny\n"
Perturb = Callable[..., nn.Module]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's client, which asks no network."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return folder


def put(cache: Path, repo: str, commit: str, files: dict[str, Any], ref: str = "main") -> Path:
    """A snapshot as the client leaves it; content is text, JSON or a model that timm writes."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    for name, content in files.items():
        if isinstance(content, nn.Module):
            timm.models.save_for_hf(content, snapshot, safe_serialization=True)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (snapshot / name).write_text(text)
    return snapshot


def tiny(perturb: Perturb, seed: int) -> nn.Module:
    """timm's smallest ResNet, for 5 classes, with a preprocessing that is not its default."""
    torch.manual_seed(seed)
    overlay = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.5), "interpolation": "bilinear"}
    model: nn.Module = timm.create_model(
        "test_resnet", num_classes=5, pretrained_cfg_overlay=overlay
    )
    return perturb(model).eval()


def test_a_model_of_the_hub_brings_weights_preprocessing_and_licence(
    cache: Path, tmp_path: Path, perturb: Perturb
) -> None:
    model = tiny(perturb, 0)
    snapshot = put(cache, "someone/tiny", COMMITS[0], {"weights": model, "README.md": README})
    card = obtain.obtain("hf:someone/tiny", tmp_path / "a", seed=0)
    assert card.architecture == "timm:test_resnet"
    assert card.preprocessing.mean == (127.5, 102.0, 76.5)
    assert card.preprocessing.std == (51.0, 63.75, 127.5)
    assert card.preprocessing.interpolation == "bilinear"
    said = {key: card.notes[key] for key in ("weights_hub", "weights_commit", "license")}
    assert said == {
        "weights_hub": "someone/tiny",
        "weights_commit": COMMITS[0],
        "license": model.pretrained_cfg["license"],
    }
    content = (snapshot / "model.safetensors").read_bytes()
    assert card.notes["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert card.notes["weights_tensors"] == len(model.state_dict())
    # timm's own loading from the hub, and by another road than its feature network.
    theirs = timm.create_model("hf-hub:someone/tiny", pretrained=True).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = load_artifact(tmp_path / "a")(images)
        levels = theirs.forward_intermediates(images, intermediates_only=True)
    assert torch.equal(ours[-1], levels[-1])


def test_a_revision_is_that_commit(cache: Path, tmp_path: Path, perturb: Perturb) -> None:
    models = [tiny(perturb, seed) for seed in (0, 1)]
    put(cache, "someone/tiny", COMMITS[0], {"weights": models[0]}, ref="v1")
    put(cache, "someone/tiny", COMMITS[1], {"weights": models[1]})
    found = [find_hub_model(f"hf:someone/tiny{at}").commit for at in ("", "@v1", f"@{COMMITS[0]}")]
    assert found == [COMMITS[1], COMMITS[0], COMMITS[0]]
    obtain.obtain("hf:someone/tiny@v1", tmp_path / "a", seed=0)
    ours, wanted = load_artifact(tmp_path / "a").state_dict(), models[0].state_dict()
    assert torch.equal(ours["body.conv1.0.weight"], wanted["conv1.0.weight"])


def test_the_licence_stands_in_the_readme_where_the_config_has_none(
    cache: Path, tmp_path: Path, perturb: Perturb
) -> None:
    snapshot = put(
        cache, "someone/tiny", COMMITS[0], {"weights": tiny(perturb, 0), "README.md": README}
    )
    config = json.loads((snapshot / "config.json").read_text())
    del config["pretrained_cfg"]["license"]
    (snapshot / "config.json").write_text(json.dumps(config))
    card = obtain.obtain("hf:someone/tiny", tmp_path / "a", seed=0)
    assert card.notes["license"] == "cc-by-4.0"


def test_timms_own_weights_say_where_they_come_from(
    cache: Path, tmp_path: Path, perturb: Perturb
) -> None:
    model = perturb(timm.create_model("test_resnet"))
    repo = "timm/test_resnet.r160_in1k"
    snapshot = put(cache, repo, COMMITS[1], {"weights": model})
    card = obtain.obtain("timm:test_resnet", tmp_path / "a", seed=0)
    content = (snapshot / "model.safetensors").read_bytes()
    wanted = {
        "weights_name": "r160_in1k",
        "weights_hub": repo,
        "weights_commit": COMMITS[1],
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "license": "apache-2.0",
    }
    assert {key: card.notes[key] for key in wanted} == wanted
    assert card.notes["published"]["input_size"] == [3, 160, 160]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"model_type": "resnet", "architectures": ["X"]},
            r"model of transformers \(resnet\).*hf:",
        ),
        ({"some": 1}, "no timm model: supported are"),
        ([1], "no JSON object"),
        ("{", "not JSON"),
        ({"architecture": "../x", "pretrained_cfg": {}}, "names no timm architecture"),
        (
            {"architecture": "test_vit", "pretrained_cfg": {}, "model_args": {"img_size": 96}},
            r"another network than timm's.*'img_size': 96",
        ),
    ],
)
def test_what_timm_cannot_build_is_refused(cache: Path, config: Any, said: str) -> None:
    put(cache, "someone/other", COMMITS[0], {"config.json": config})
    with pytest.raises(HubError, match=said):
        find_hub_model("hf:someone/other")


def test_what_is_not_in_the_cache_is_said_with_the_remedy(cache: Path, perturb: Perturb) -> None:
    with pytest.raises(HubError) as caught:
        find_hub_model("hf:someone/tiny@v2")
    for part in (
        "config.json of hf:someone/tiny@v2 could not be downloaded",
        str(cache / "models--someone--tiny"),
        "HF_HUB_OFFLINE is set",
        "hf download someone/tiny --revision v2",
    ):
        assert part in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": [0.5]}, "channels"),
        ({"mean": "abc"}, "timm understands"),
        ({"interpolation": "lanczos"}, "interpolation"),
        ({"model_args": "many"}, "model_args"),
        ({"mean": [0.5, 0.5, 7]}, "0..255"),
    ],
)
def test_a_strange_config_is_a_message_and_no_traceback(
    cache: Path,
    tmp_path: Path,
    perturb: Perturb,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
) -> None:
    snapshot = put(cache, "someone/tiny", COMMITS[0], {"weights": tiny(perturb, 0)})
    config = json.loads((snapshot / "config.json").read_text())
    config["pretrained_cfg"] |= {"unheard_of": 1, **changes}
    config |= {key: value for key, value in changes.items() if key == "model_args"}
    (snapshot / "config.json").write_text(json.dumps(config))
    arguments = ["--backbone", "hf:someone/tiny", "--artifact", str(tmp_path / "a")]
    assert obtain.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "a").exists()


def test_weights_that_do_not_fit_are_listed(
    cache: Path, tmp_path: Path, perturb: Perturb, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = put(cache, "someone/tiny", COMMITS[0], {"weights": tiny(perturb, 0)})
    config = json.loads((snapshot / "config.json").read_text())
    (snapshot / "config.json").write_text(json.dumps({**config, "architecture": "resnet18"}))
    arguments = ["--backbone", "hf:someone/tiny", "--artifact", str(tmp_path / "a")]
    assert obtain.main(arguments) == 1
    assert "Missing keys (" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("hf:timm/resnet18.a1_in1k", ("timm/resnet18.a1_in1k", None)),
        ("hf:a/b@refs/pr/1", ("a/b", "refs/pr/1")),
    ],
)
def test_names(name: str, parsed: tuple[str, str | None]) -> None:
    assert split_hub_name(name) == parsed


@pytest.mark.parametrize(
    "name", ["hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@", "hf:a/b@../x"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match="hf:<organization>/<name>"):
        split_hub_name(name)


def test_a_spec_of_the_hub_is_read_without_torch(tmp_path: Path) -> None:
    """Its control is the same architecture; its weights are one commit, whatever main becomes."""
    config = {"architecture": "test_resnet", "pretrained_cfg": {"tag": "mine"}}
    put(tmp_path / "hub", "someone/tiny", COMMITS[0], {"config.json": config})
    code = (
        "import sys; from eval.specs import parse_spec; (s,) = parse_spec('hf:someone/tiny'); "
        f"assert s.weights == 'hf:someone/tiny@{COMMITS[0]}', s; "
        "assert s.control.name == 'scratch:timm:test_resnet', s.control; "
        "heavy = {'torch', 'timm', 'httpx'} & set(sys.modules); assert not heavy, heavy"
    )
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=True, env=environment)
