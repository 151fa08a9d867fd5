"""`trickle export --to onnx` says what it begins: each part can take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backbones import create_backbone, save_artifact
from eval.export import to_onnx
from eval.export.export import export


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    backbone = create_backbone("resnet18d", width=0.125)
    head = {"weight": torch.zeros(3, backbone.features.channels[-1]), "bias": torch.zeros(3)}
    save_artifact(tmp_path / "a", backbone, {"weights": "trained"}, head=head)
    return tmp_path / "a"


@pytest.mark.parametrize("any_size_is_refused", [False, True])
def test_a_line_is_written_before_each_part(
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    any_size_is_refused: bool,
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    said: list[str] = []

    def convert(*_: object, any_size: bool, **__: object) -> None:
        said.append(capsys.readouterr().err)
        if any_size and any_size_is_refused:
            raise to_onnx._Refused("not exported")

    monkeypatch.setattr(to_onnx, "_convert", convert)
    monkeypatch.setattr(to_onnx, "_check", lambda *_, **__: None)
    export(artifact, "onnx", tmp_path / "out")
    any_size = "onnx: the {}, for images of any size; this can take minutes ...\n"
    one_size = (
        "onnx: the {} has no form for images of any size\n"
        "onnx: the {}, for images of 224 x 224 pixels ...\n"
    )
    parts = [any_size, one_size] if any_size_is_refused else [any_size]
    assert said == [
        part.replace("{}", name) for name in ("backbone", "classifier") for part in parts
    ]


@pytest.mark.slow
def test_padding_by_the_images_size_is_exported_at_the_size_of_its_test_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With both sides unknown torch.export needs many minutes for it."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    backbone = create_backbone("timm:tf_mobilenetv3_small_minimal_100").eval()
    head = {"weight": torch.randn(3, backbone.features.channels[-1]), "bias": torch.zeros(3)}
    dataset = {"name": "own", "train_size": 64, "eval_size": 64, "resize_size": 72}
    card = {"weights": "trained", "classes": ("a", "b", "c"), "dataset": dataset}
    save_artifact(tmp_path / "a", backbone, card, head=head)
    export(tmp_path / "a", "onnx", tmp_path / "out")
    said = capsys.readouterr().err
    assert "onnx: the classifier pads by the image's size" in said
    assert "64 x 64 pixels" in said
    session = runtime.InferenceSession(tmp_path / "out" / "classifier.onnx")
    images = torch.randn(2, 3, 64, 64)
    (logits,) = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        pooled = backbone(images)[-1].mean((2, 3))
    expected = pooled @ head["weight"].T
    assert torch.allclose(torch.tensor(logits), expected, atol=1e-4, rtol=1e-4)
