"""A network trained on other images than RGB: its artifact knows it, and asks for no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones import load_artifact, read_card
from benchmarks.imagenet_layout import read_index
from classification.frozen_features import frozen_features
from classification.pretrain import main
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import AlphaChannel, BenGraham
from classification.tricks.trick import Trick
from engine.finetuning import normalization
from eval.export.export import export
from eval.export.targets import ExportError


@pytest.mark.slow
@pytest.mark.parametrize("trick", [AlphaChannel(), BenGraham()], ids=lambda t: t.name)
def test_from_training_to_the_artifact_and_what_is_made_of_it(
    trick: Trick,
    make_benchmark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget_mmengine: Callable[[], None],
) -> None:
    forget_mmengine()
    monkeypatch.setitem(RECIPES, "shown", Recipe() | trick)
    artifact, toml = tmp_path / "a", make_benchmark(tmp_path / "data")
    words = {
        "backbone": "resnet18d_shown", "benchmark": toml, "artifact": artifact,
        "work-dir": tmp_path / "w", "result": tmp_path / "result.json",
    }  # fmt: skip
    main([word for key, value in words.items() for word in (f"--{key}", str(value))])

    card = read_card(artifact)
    assert card.preprocessing.representation == trick.representation
    backbone = load_artifact(artifact)
    samples = read_index(tmp_path / "data/imagenet", "val").samples
    features = frozen_features(backbone, list(samples), size=32, resize_size=36)
    assert np.isfinite(features).all()
    assert features.std(axis=0).max() > 0, "images differ"

    with pytest.raises(ValueError, match="a detector or segmentor takes plain RGB images"):
        normalization(card)
    with pytest.raises(ExportError, match=r"Possible: onnx$"):
        export(artifact, "timm", tmp_path / "timm")
    if trick.name != "alpha_channel":
        return
    pytest.importorskip("onnxruntime")
    folder, _ = export(artifact, "onnx", tmp_path / "onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "backbone.onnx")
    images = torch.zeros(1, card.preprocessing.channels, 64, 64).numpy()
    assert session.run(None, {"image": images})[0].shape[0] == 1
