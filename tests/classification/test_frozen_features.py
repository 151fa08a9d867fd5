"""Frozen features are the artifact's own, of images that the seed alone chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.artifact import load_artifact
from backbones.obtain import obtain
from backbones.preprocessing import Preprocessing
from classification import probe_protocol
from classification.frozen_features import choose_images, frozen_features, labels_of
from classification.probe import main
from engine.results import StageResult
from eval.cli import transfer_main
from eval.records import read_records


def images_of(counts: dict[int, int], root: Path = Path("/data")) -> list[tuple[Path, int]]:
    return [
        (root / f"class{label}" / f"{index}.jpg", label)
        for label, count in counts.items()
        for index in range(count)
    ]


def test_each_class_has_the_same_share() -> None:
    samples = images_of({0: 50, 1: 3, 2: 20})
    chosen = choose_images(samples, seed=0, most=30)
    assert Counter(labels_of(chosen.samples).tolist()) == {0: 10, 1: 3, 2: 10}
    assert set(chosen.samples) <= set(samples)
    assert len(choose_images(samples, seed=0, most=1).samples) == 3  # at least one of each


@given(
    counts=st.dictionaries(st.integers(0, 9), st.integers(1, 60), min_size=1, max_size=5),
    percent=st.sampled_from([1, 5, 10, 100]),
)
@settings(max_examples=30, deadline=None)
def test_few_shots_are_a_share_of_each_class_and_at_least_one(
    counts: dict[int, int], percent: int
) -> None:
    chosen = choose_images(images_of(counts), seed=1, most=10_000)
    few = chosen.few_shot(percent)
    labels = labels_of(chosen.samples)
    for label, count in counts.items():
        taken = int(few[labels == label].sum())
        assert taken >= 1
        assert taken - 1 < count * percent / 100 <= taken


def test_the_seed_and_the_names_alone_choose() -> None:
    first = choose_images(images_of({0: 40, 1: 40}), seed=0, most=20)
    elsewhere = images_of({1: 40, 0: 40}, Path("/other"))[::-1]
    moved = choose_images(elsewhere, seed=0, most=20)
    assert [path.parts[-2:] for path, _ in moved.samples] == [
        path.parts[-2:] for path, _ in first.samples
    ]
    assert choose_images(images_of({0: 40, 1: 40}), seed=1, most=20).samples != first.samples
    more = choose_images(images_of({0: 40, 1: 40}), seed=0, most=40)
    assert set(first.samples) < set(more.samples)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifact") / "a"
    obtain("scratch:resnet18d", directory, seed=3, width=0.125)
    return directory


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_features_are_the_backbones_output_by_hand(
    artifact: Path, tmp_path: Path, order: str
) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for index in range(3):
        path = tmp_path / f"{index}.png"  # of the size of the view, so that nothing is resized
        cv2.imwrite(str(path), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        samples.append((path, index))
    backbone = load_artifact(artifact)
    prep = Preprocessing(mean=(120, 110, 100), std=(60, 50, 40), channel_order=order)  # type: ignore[arg-type]
    backbone.preprocessing = prep
    told: list[int] = []
    found = frozen_features(backbone, samples, size=32, resize_size=32, done=told.append)
    plain = load_artifact(artifact)
    for (path, _), feature in zip(samples, found, strict=True):
        pixels = cv2.imread(str(path))[:, :, ::-1].astype(np.float32)
        values = (pixels - np.float32([120, 110, 100])) / np.float32([60, 50, 40])
        if order == "BGR":
            values = values[:, :, ::-1]
        view = torch.from_numpy(values.transpose(2, 0, 1).copy())[None]
        with torch.no_grad():
            expected = plain(view)[3][0].flatten(1).mean(1).numpy()
        np.testing.assert_allclose(feature, expected, rtol=1e-4, atol=1e-5)
    assert told == [3]


def test_features_that_are_no_numbers_are_refused(artifact: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    backbone = load_artifact(artifact)
    with torch.no_grad():
        next(backbone.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        frozen_features(backbone, [(tmp_path / "a.png", 0)], size=32, resize_size=32)


PROBES = {"linear_probe", "knn", "few_shot_1", "few_shot_5", "few_shot_10"}


def test_probes_are_the_same_for_the_same_seed(
    make_benchmark: Callable[..., Path],
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    benchmark = make_benchmark(tmp_path / "squares")
    results = []
    for seed in (0, 0, 1):
        words = ["--artifact", artifact, "--benchmark", benchmark, "--work-dir", tmp_path]
        words += ["--seed", seed, "--result", tmp_path / "result.json"]
        main([str(word) for word in words])
        results.append(StageResult.read(tmp_path / "result.json"))
    first, again, other = results
    assert set(first.metrics) == PROBES
    assert {metric.n for metric in first.metrics.values()} == {9}
    assert first.metrics["few_shot_1"] == first.metrics["few_shot_10"]  # one of 8 images
    assert first.cost["training_images"] == 24
    assert again.metrics == first.metrics
    assert other.metrics["linear_probe"].value == first.metrics["linear_probe"].value
    assert first.protocol["revision"] == probe_protocol.REVISION
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("linear_probe") == 3


@pytest.mark.slow
def test_probes_of_an_artifact_and_its_control_from_the_command_line(
    make_benchmark: Callable[..., Path],
    artifact: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    benchmark = make_benchmark(tmp_path / "squares")
    ask = ["--backbone", str(artifact), "--benchmark", str(benchmark), "--tasks", "probes"]
    ask += ["--out", str(tmp_path / "out")]
    assert transfer_main(ask) == 0, capfd.readouterr().err
    assert "linear_probe" in capfd.readouterr().out
    found = read_records(tmp_path / "out" / "records")
    assert found.bad == ()
    records = list(found.by_key.values())
    assert [record.task for record in records] == ["probes", "probes"]
    assert {record.control for record in records} == {None, "scratch:resnet18d"}
    assert all(set(record.metrics) == PROBES for record in records)
