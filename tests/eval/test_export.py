"""`trickle export`: what is typed as printed loads strictly there and computes the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones import create_backbone, load_artifact, load_head, save_artifact
from eval.cli import main
from eval.export.export import export
from eval.export.targets import TARGETS, ExportError

LAYERS = ("layer1", "layer2", "layer3", "layer4")
INCEPTION = ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
# What timm's own configuration of resnet18d says of weights that are not these.
OF_OTHERS = ("tag", "license", "origin_url", "hf_hub_id", "test_input_size", "test_crop_pct")
CLASSES = ("red", "green", "blue", "round", "square", "long", "none of them")
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(architecture, width=1.0, head=True) -> an artifact whose normalizations tell."""

    def made(architecture: str, *, width: float = 1.0, head: bool = True) -> Path:
        torch.manual_seed(0)
        backbone = create_backbone(architecture, width=width)
        with torch.no_grad():
            for module in backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.1)
                    assert module.running_mean is not None
                    assert module.running_var is not None
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
        channels = backbone.features.channels[-1]
        classifier = {"weight": torch.randn(7, channels), "bias": torch.randn(7)} if head else None
        folder = tmp_path / "artifact"
        card = {"weights": "trained", "seed": 0, "classes": CLASSES}
        save_artifact(folder, backbone, card, head=classifier)
        return folder

    return made


def test_an_interrupted_export_leaves_nothing_and_says_so(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(source: object, folder: Path) -> None:
        (folder / "half.bin").write_bytes(b"half of it")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr("eval.export.export._writer", lambda target: write)
    artifact = make("resnet18d", width=0.125)
    before = sorted(tmp_path.iterdir())
    assert main(["export", str(artifact), "--to", "timm", "--out", str(tmp_path / "out")]) == 143
    assert sorted(tmp_path.iterdir()) == before
    assert capfd.readouterr().err == (
        "\nInterrupted. Nothing half written stays; the same command begins anew.\n"
    )


def typed(text: str) -> dict[str, Any]:
    """What is there when somebody has typed the text."""
    names: dict[str, Any] = {}
    exec(text, names)
    return names


def levels(model: nn.Module, names: Sequence[str], images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The outputs of these modules and the model's own."""
    found: list[Tensor] = []
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda m, i, o: found.append(o.clone()))
    with torch.no_grad():
        last = model.eval()(images)
    return found, last


def check(artifact: Path, model: nn.Module, names: Sequence[str], side: int = 96) -> None:
    images = torch.randn(2, 3, side, side)
    found, logits = levels(model, names, images)
    with torch.no_grad():
        expected = load_artifact(artifact).classification_features(images)
    for ours, theirs in zip(expected, found, strict=True):
        assert torch.equal(ours, theirs)
    head = load_head(artifact)
    by_hand = expected[-1].mean(dim=(2, 3)) @ head["weight"].T + head["bias"]
    torch.testing.assert_close(logits, by_hand, rtol=1e-4, atol=1e-4)


def test_timm_loads_a_thin_resnet_d(make: Make, tmp_path: Path) -> None:
    artifact = make("resnet18d", width=0.25)
    _, text = export(artifact, "timm", tmp_path / "out")
    model = typed(text)["model"]
    check(artifact, model, LAYERS)
    assert model.pretrained_cfg["mean"] == pytest.approx((0.48502, 0.45796, 0.40760), abs=1e-5)
    assert model.pretrained_cfg["num_classes"] == model.num_classes == 7
    assert not {key for key in OF_OTHERS if model.pretrained_cfg.get(key)}
    written = json.loads((tmp_path / "out/pretrained_cfg.json").read_text())
    assert None not in written.values(), "what is not known is left out"
    assert tuple(written["label_names"]) == CLASSES


def test_a_folder_of_the_hub_loads_as_local_dir(make: Make, tmp_path: Path) -> None:
    artifact = make("resnet18d", width=0.25)
    out, text = export(artifact, "huggingface", tmp_path / "out")
    model = typed(text)["model"]
    check(artifact, model, LAYERS)
    config = json.loads((out / "config.json").read_text())
    assert config["architecture"] == "resnet18d"
    assert tuple(config["label_names"]) == tuple(model.pretrained_cfg["label_names"]) == CLASSES
    assert config["pretrained_cfg"]["std"] == pytest.approx((0.22899, 0.224, 0.225), abs=1e-5)
    assert not set(OF_OTHERS) & set(config["pretrained_cfg"])
    readme = (out / "README.md").read_text()
    assert readme.startswith("---\nlibrary_name: timm\n")
    assert "'hf-hub:<org>/<name>'" in readme
    assert str(tmp_path) not in readme


@pytest.mark.parametrize("target", ["timm", "huggingface"])
@pytest.mark.parametrize(
    ("card", "sizes"),
    [
        # Of this architecture timm knows weights that are tested at 288 pixels with a share of 1.
        ({"dataset": {"name": "d", "eval_size": 64, "resize_size": 73}}, (64, 73)),
        ({"notes": {"published": {"input_size": [3, 160, 160], "crop_pct": 0.8}}}, (160, 200)),
    ],
)
def test_the_evaluated_images_are_those_of_the_card(
    tmp_path: Path, target: str, card: dict[str, Any], sizes: tuple[int, int]
) -> None:
    from timm.data import create_transform, resolve_model_data_config

    folder = tmp_path / "artifact"
    backbone = create_backbone("timm:resnet10t")
    save_artifact(folder, backbone, {"weights": "imported", **card})
    _, text = export(folder, target, tmp_path / "out")
    model = typed(text)["model"]
    found = resolve_model_data_config(model, use_test_size=True)
    resize, crop = create_transform(**found).transforms[:2]
    assert (crop.size[0], resize.size) == sizes
    for key in ("tag", "license", "test_input_size", "test_crop_pct"):
        assert model.pretrained_cfg.get(key) is None, key


def test_torchvision_loads_a_resnet_b(make: Make, tmp_path: Path) -> None:
    artifact = make("resnet18b")
    _, text = export(artifact, "torchvision", tmp_path / "out")
    check(artifact, typed(text)["model"], LAYERS)


def test_the_readme_of_a_moved_folder_loads_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make("resnet18d", width=0.25)
    monkeypatch.chdir(tmp_path)
    out, text = export(artifact, "timm", "out")
    assert str(tmp_path) not in text
    monkeypatch.chdir(out.rename(tmp_path / "moved"))
    readme = Path("README.md").read_text()
    use = readme.partition("```python\n")[2].partition("```")[0]
    check(artifact, typed(use)["model"], LAYERS)


def test_the_readme_says_that_the_benchmark_scales_the_recipe(tmp_path: Path) -> None:
    card = {"weights": "trained", "seed": 0, "recipe": {"epochs": 120}}
    save_artifact(tmp_path / "artifact", create_backbone("resnet18d", width=0.125), card)
    readme = (tmp_path / "artifact" / "README.md").read_text()
    assert "before the benchmark's scaling" in readme.partition("## Recipe")[2].partition("{")[0]


def test_that_trickle_is_needed_for_a_configuration_is_said(make: Make, tmp_path: Path) -> None:
    out, text = export(make("resnet18d", width=0.125), "mmseg", tmp_path / "out")
    assert "Trickle has to be installed" in text
    shell = (out / "README.md").read_text().partition("```sh\n")[2].partition("```")[0]
    assert "Trickle has to be installed" in shell
    assert "python tools/train.py fcn_d8_ade20k.py\n" in shell


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "width", "names"),
    [
        ("resnet18a", 1.0, LAYERS),
        ("resnet18c", 0.5, LAYERS),
        ("resnet50b", 1.0, LAYERS),
        ("resnet50c", 0.25, LAYERS),
        ("resnet50d", 1.0, LAYERS),
        ("inception_v3", 1.0, INCEPTION),
        ("mobilenet", 1.0, ("blocks.1", "blocks.2", "blocks.3", "blocks.4")),
        ("timm:resnet10t", 1.0, LAYERS),
    ],
)
@pytest.mark.parametrize("target", ["timm", "huggingface"])
def test_timm_loads(
    make: Make, tmp_path: Path, architecture: str, width: float, names: Sequence[str], target: str
) -> None:
    artifact = make(architecture, width=width)
    _, text = export(artifact, target, tmp_path / "out")
    check(artifact, typed(text)["model"], names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "names"),
    [("resnet18a", LAYERS), ("resnet50b", LAYERS), ("inception_v3", INCEPTION)],
)
def test_torchvision_loads(
    make: Make, tmp_path: Path, architecture: str, names: Sequence[str]
) -> None:
    artifact = make(architecture)
    _, text = export(artifact, "torchvision", tmp_path / "out")
    check(artifact, typed(text)["model"], names)


@pytest.mark.slow
def test_of_timms_models_without_their_last_layers_the_feature_network_is_exported(
    make: Make, tmp_path: Path
) -> None:
    artifact = make("timm:mobilenetv3_small_050", head=False)
    _, text = export(artifact, "timm", tmp_path / "out")
    model = typed(text)["model"].eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(load_artifact(artifact)(images), model(images)[-4:], strict=True):
            assert torch.equal(ours, theirs)
    with pytest.raises(ExportError, match="--to timm"):
        export(artifact, "huggingface", tmp_path / "hub")


@pytest.mark.slow
def test_a_backbone_without_classifier_says_how_it_is_loaded(make: Make, tmp_path: Path) -> None:
    artifact = make("resnet18b", head=False)
    _, text = export(artifact, "torchvision", tmp_path / "out")
    assert "model.fc = torch.nn.Identity()" in text
    images = torch.randn(1, 3, 64, 64)
    found, pooled = levels(typed(text)["model"], LAYERS, images)
    torch.testing.assert_close(pooled, found[-1].mean(dim=(2, 3)))


def test_what_a_target_has_not_names_those_that_have(make: Make, tmp_path: Path) -> None:
    artifact = make("resnet18d", width=0.25)
    with pytest.raises(ExportError) as caught:
        export(artifact, "torchvision", tmp_path / "out")
    assert "Possible: timm, mmdet, mmseg, onnx, huggingface" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "no artifact in"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"half"), "is damaged"),
        (lambda folder: (folder.parent / "out").mkdir(), "is there already: not replaced"),
    ],
)
def test_what_cannot_be_exported_is_said(
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], Any],
    said: str,
) -> None:
    artifact = make("resnet18d", width=0.125)
    spoil(artifact)
    before = sorted(path.name for path in tmp_path.iterdir())
    out = tmp_path / "out"
    assert main(["export", str(artifact), "--to", "timm", "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_out_below_a_file_is_refused(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = make("resnet18d", width=0.125)
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "folder" / "out"
    assert main(["export", str(artifact), "--to", "timm", "--out", str(out)]) == 2
    assert f"{tmp_path / 'file'} is a file" in capsys.readouterr().err


def test_an_unknown_target_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", "somewhere", "--to", "keras"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert all(target in said for target in TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "width", "head", "sizes"),
    [
        ("resnet18d", 0.25, True, [(1, 64, 64), (3, 97, 130)]),
        ("inception_v3", 0.125, False, [(1, 299, 299), (2, 299, 299)]),
    ],
)
def test_onnxruntime_computes_the_same(
    make: Make,
    tmp_path: Path,
    architecture: str,
    width: float,
    head: bool,
    sizes: list[tuple[int, int, int]],
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    artifact = make(architecture, width=width, head=head)
    out, text = export(artifact, "onnx", tmp_path / "out")
    assert "backbone.onnx" in text
    assert ("classifier.onnx" in text) == head
    backbone = load_artifact(artifact)
    session = onnxruntime.InferenceSession(out / "backbone.onnx")
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["preprocessing"])["mean"] == [123.68, 116.779, 103.939]
    assert json.loads(said.get("classes", "[]")) == (list(CLASSES) if head else [])
    for batch, height, width_ in sizes:
        images = torch.randn(batch, 3, height, width_)
        with torch.no_grad():
            expected = backbone(images)
        for ours, theirs in zip(
            expected, session.run(None, {"image": images.numpy()}), strict=True
        ):
            scale = max(1.0, ours.abs().max().item())
            torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=0, atol=1e-4 * scale)
    assert (out / "classifier.onnx").exists() == head


def test_without_onnx_the_extra_is_named(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"trickle\[onnx\]"):
        export(make("resnet18d", width=0.125), "onnx", tmp_path / "out")


BUILT = """
import sys, torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from backbones import load_artifact

scope, config, artifact, stride, kind = sys.argv[1:]
config = Config.fromfile(config)
init_default_scope(scope)
import importlib
importlib.import_module(f"{scope}.models")
registry = importlib.import_module(f"{scope}.registry").MODELS
if scope == "mmseg":
    from mmengine.model import revert_sync_batchnorm
model = registry.build(config.model)
model.init_weights()
if scope == "mmseg":
    model = revert_sync_batchnorm(model)
model.eval()
assert type(model.backbone).__name__ == kind, type(model.backbone)
ours = load_artifact(artifact, output_stride=int(stride))
images = torch.randn(2, 3, 97, 130)
with torch.no_grad():
    for a, b in zip(ours(images), model.backbone(images), strict=True):
        assert a.shape == b.shape and (a - b).abs().max() <= 1e-5 * a.abs().max()
print("same")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scope", "architecture", "kind"),
    [
        ("mmdet", "resnet50a", "ResNet"),
        ("mmdet", "resnet50d", "ResNetV1d"),
        ("mmdet", "mobilenet", "TrickleBackbone"),
        ("mmseg", "resnet50a", "ResNet"),
        ("mmseg", "resnet50c", "ResNet"),
        ("mmseg", "resnet50d", "TrickleBackbone"),  # upstream drops an average where it dilates
        ("mmseg", "resnet18b", "TrickleBackbone"),  # upstream dilates one of two convolutions
    ],
)
def test_upstreams_registry_builds_the_configuration_with_the_weights(
    make: Make, tmp_path: Path, scope: str, architecture: str, kind: str
) -> None:
    artifact = make(architecture, width=0.25)
    out, _ = export(artifact, scope, tmp_path / "out")
    moved = out.rename(tmp_path / "moved")  # the files find each other all the same
    (config,) = moved.glob("*.py")
    stride = "32" if scope == "mmdet" else "8"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILT, scope, config, artifact, stride, kind],
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("same\n"), done.stderr[-3000:]


SHORT = [
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scope", "options", "metric"),
    [
        (
            "mmdet",
            ["train_cfg.max_epochs=1", "train_dataloader.dataset.times=1"],
            "pascal_voc/mAP",
        ),
        (
            "mmseg",
            ["train_cfg.max_iters=2", "train_cfg.val_interval=2", "train_dataloader.batch_size=2"],
            "mIoU",
        ),
    ],
)
def test_upstreams_own_tool_trains_it(
    make: Make,
    make_benchmark: Callable[..., Path],
    tmp_path: Path,
    scope: str,
    options: list[str],
    metric: str,
) -> None:
    data = tmp_path / "data"
    make_benchmark(data)
    voc = data / "VOCdevkit"
    for annotation in (voc / "VOC2007/Annotations").glob("*.xml"):
        text = annotation.read_text().replace("<name>blue<", "<name>cat<")
        annotation.write_text(text.replace("<name>red<", "<name>car<"))
    for split, images in (("trainval", 2), ("test", 1)):
        names = voc / f"VOC2007/ImageSets/Main/{split}.txt"
        names.write_text("\n".join(names.read_text().split()[:images]) + "\n")
    shutil.copytree(voc / "VOC2007", voc / "VOC2012")
    (data / "ade").mkdir()
    (data / "ADEChallengeData2016").rename(data / "ade" / "ADEChallengeData2016")
    out, _ = export(make("resnet50d", width=0.25), scope, tmp_path / "out")
    (config,) = out.glob("*.py")
    spec = __import__(scope).__path__[0]
    tool = Path(spec) / ".mim" / "tools" / "train.py"
    done = subprocess.run(
        [sys.executable, tool, config, "--work-dir", "work", "--cfg-options", *SHORT, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert metric in done.stdout + done.stderr
    assert "unexpected key" not in done.stdout + done.stderr
    assert "missing keys" not in done.stdout + done.stderr
