"""The second test of a segmentor: views of each image, and masks that come back where they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones import read_card
from backbones.obtain import obtain
from benchmarks.schema import SegmentationBudget, load_benchmark
from engine.finetuning import prepare_openmmlab
from engine.randomness import seed_globally
from segmentation.protocol import segmentation_protocol

prepare_openmmlab()
from mmseg.registry import MODELS  # noqa: E402

from segmentation.data import test_data as load_test_data  # noqa: E402
from segmentation.metric import SegmentationMetric  # noqa: E402
from segmentation.model import segmentor_config  # noqa: E402
from segmentation.second_test import second_test  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(build_loss|avg_non_ignore|shape of value)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    directory = tmp_path_factory.mktemp("squares")
    make_benchmark(directory)
    obtain("scratch:resnet18d", directory / "artifact", seed=0, width=0.125)
    return directory


@pytest.fixture(scope="module")
def budget(folder: Path) -> SegmentationBudget:
    found = load_benchmark(folder / "squares.toml").segmentation
    assert found is not None
    return found


@pytest.fixture(scope="module")
def segmentor(folder: Path, budget: SegmentationBudget) -> Any:
    artifact = folder / "artifact"
    seed_globally([0])
    built = MODELS.build(segmentor_config(artifact, read_card(artifact), budget))
    built.init_weights()
    return built.eval()


def plain_test(segmentor: Any, budget: SegmentationBudget) -> tuple[dict[str, Any], list[Any]]:
    metric = SegmentationMetric(samples=())
    metric.dataset_meta = {"classes": budget.classes}
    with torch.no_grad():
        for batch in load_test_data(budget, interpolation="bilinear"):
            answers = [sample.to_dict() for sample in segmentor.test_step(batch)]
            metric.process(batch, answers)
    return metric.evaluate(4), metric.tested


def of_views(
    segmentor: Any, budget: SegmentationBudget, **changes: Any
) -> tuple[dict[str, Any], list[Any]]:
    test = second_test(budget.model_copy(update=changes), interpolation="bilinear")
    assert test is not None
    metrics, _ = test.run(segmentor)
    return metrics, test.metric.tested  # type: ignore[attr-defined]


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    assert [image.path for image in ours] == [image.path for image in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.counts, other.counts)


def test_the_view_that_a_plain_test_has_gives_what_it_gives(
    segmentor: Any, budget: SegmentationBudget
) -> None:
    before, images = plain_test(segmentor, budget)
    metrics, ours = of_views(segmentor, budget, test_time_scales=(1.0,))
    assert metrics == before
    assert_same(ours, images)


def by_color(inputs: torch.Tensor, metas: Any) -> torch.Tensor:
    """Logits of blue, green and red at each pixel of (B, 3, H, W), normalized RGB."""
    red, green, blue = inputs.unbind(1)
    return torch.stack([blue, green, red], dim=1)


def test_masks_of_mirrored_and_scaled_views_come_back(
    segmentor: Any, budget: SegmentationBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pixel's color says its class, mirrored or not: what the squares' files say."""
    monkeypatch.setattr(segmentor, "encode_decode", by_color)
    before, images = plain_test(segmentor, budget)
    assert before["mIoU"] > 95, "the truth of the files"
    metrics, ours = of_views(segmentor, budget, test_time_flip=True, batch_size=3)
    assert metrics == before
    assert_same(ours, images)
    metrics, _ = of_views(segmentor, budget, test_time_flip=True, test_time_scales=(1.0, 2.0))
    assert metrics["mIoU"] > 90
    assert metrics["n"] == 4


def test_the_protocol_says_views_only_where_there_are_some(
    folder: Path, budget: SegmentationBudget
) -> None:
    benchmark = load_benchmark(folder / "squares.toml")
    asked = budget.model_copy(update={"test_time_flip": True})
    plain = segmentation_protocol(benchmark, "digest")
    views = segmentation_protocol(benchmark.model_copy(update={"segmentation": asked}), "digest")
    assert "test_time" not in plain
    assert not [key for key in plain["budget"] if "test_time" in key]
    assert views.pop("test_time") == {"scales": [1.0], "flip": True}
    assert views == plain
    assert second_test(budget, interpolation="bilinear") is None
