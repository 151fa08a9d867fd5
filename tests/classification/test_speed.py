"""The speed stage: what is timed, in turns, and the memory of a pass counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones import create_backbone, save_artifact
from benchmarks.schema import load_benchmark
from classification import speed
from classification.speed import forward_memory, in_turns, main
from classification.speed_protocol import detected_size, speed_protocol
from engine.results import StageResult
from eval.recording import as_planned


def test_each_call_runs_once_a_round_and_warm_ups_are_not_timed() -> None:
    order: list[str] = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    seconds = in_turns(calls, rounds=3, warmup=2)
    assert order == ["a", "b"] * 5
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}
    assert all(value > 0 for taken in seconds.values() for value in taken)


def test_the_memory_of_a_pass_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.Sigmoid(), nn.Conv2d(16, 4, 1, bias=False)
    )
    images = torch.zeros(2, 3, 10, 10)
    weights, image, middle, last = 16 * 27 + 4 * 16, 2 * 300, 2 * 1600, 2 * 400
    # At most: what goes into the sigmoid, and what comes out of it.
    assert forward_memory(network, images) == 4 * (weights + image + 2 * middle)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.ReLU(inplace=True))
    assert forward_memory(network, images) == 4 * (16 * 27 + image + middle)
    assert last < middle  # so that the second convolution does not decide


def test_views_take_no_memory_of_their_own() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.permute(0, 2, 3, 1).reshape(2, -1, 3)[:, :5]

    images = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert forward_memory(Views(), images) == images.nbytes


def test_the_detectors_images_are_padded_to_its_stride() -> None:
    assert detected_size((1000, 600)) == (1024, 608)
    assert detected_size((128, 128)) == (128, 128)


def test_without_detection_there_is_one_size() -> None:
    mini = load_benchmark("mini")
    assert set(speed_protocol(mini, "")["sizes"]) == {"224", "detection"}
    bare = mini.model_copy(update={"detection": None})
    assert set(speed_protocol(bare, "")["sizes"]) == {"224"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ROUNDS", 3)
    monkeypatch.setattr(speed, "WARMUP", 0)


def measured(folder: Path, benchmark: Path) -> StageResult:
    words = {"artifact": folder / "a", "benchmark": benchmark, "work-dir": folder,
             "result": folder / "result.json"}  # fmt: skip
    main([word for key, value in words.items() for word in (f"--{key}", str(value))])
    return StageResult.read(folder / "result.json")


@pytest.mark.usefixtures("quick")
def test_the_stage_needs_no_data(tmp_path: Path, make_benchmark: Any) -> None:
    toml: Path = make_benchmark(tmp_path / "data")
    for name in ("imagenet", "VOCdevkit", "ADEChallengeData2016"):
        (tmp_path / "data" / name).rename(tmp_path / name)
    save_artifact(
        tmp_path / "a", create_backbone("resnet18d", width=0.125), {"weights": "random", "seed": 0}
    )
    found = measured(tmp_path, toml)
    for size, images in (("224", 3 * 16), ("detection", 3)):
        metric = found.metrics[f"images_per_second_{size}"]
        assert metric.value is not None
        assert metric.value > 0
        assert (metric.unit, metric.n) == ("images/s", images)
        low, high = (found.cost[f"images_per_second_{size}_{q}"] for q in ("q1", "q3"))
        assert low <= metric.value <= high
    # 16 images of 224 pixels alone take 9.2 MiB.
    assert found.cost["forward_memory_mb_224"] > 16 * 3 * 224**2 * 4 / 2**20
    planned = speed_protocol(load_benchmark(toml), "any data")
    assert found.protocol == {**planned, "threads": torch.get_num_threads()}
    assert as_planned(found.protocol) == planned
    assert any("thread" in note for note in found.notes)


@pytest.mark.usefixtures("quick")
def test_a_network_of_one_size_has_no_number_for_another(
    tmp_path: Path, make_benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OneSize(nn.Module):
        input_channels = 3

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] != 64:
                raise ValueError("takes images of 64 pixels only")
            return x + 1

    toml = make_benchmark(tmp_path / "data")
    backbone = create_backbone("resnet18d", width=0.125)
    save_artifact(tmp_path / "a", backbone, {"weights": "random", "seed": 0})
    monkeypatch.setattr("backbones.artifact.load_artifact", lambda directory: OneSize())
    found = measured(tmp_path, toml)
    assert found.metrics["images_per_second_224"].value is None
    assert found.metrics["images_per_second_detection"].value is not None
    assert any("224x224" in note and "64 pixels only" in note for note in found.notes)
