"""The second test of a detector: views of each image, and boxes that come back where they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from backbones import read_card
from backbones.obtain import obtain
from benchmarks.schema import DetectionBudget, load_benchmark
from detection.protocol import detection_protocol
from engine.finetuning import prepare_openmmlab
from engine.randomness import seed_globally

prepare_openmmlab()
from mmdet.registry import MODELS  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from detection.data import test_data as load_test_data  # noqa: E402
from detection.metric import DetectionMetric  # noqa: E402
from detection.model import detector_config  # noqa: E402
from detection.second_test import second_test  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(build_loss|avg_non_ignore)")

RED = 2  # of blue, green, red


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    directory = tmp_path_factory.mktemp("squares")
    make_benchmark(directory)
    return directory


@pytest.fixture(scope="module")
def budget(folder: Path) -> DetectionBudget:
    found = load_benchmark(folder / "squares.toml").detection
    assert found is not None
    return found


class SeesRed(torch.nn.Module):
    """Finds the box of what is red in a view, in pixels of the original, as a detector would.

    Of mirrored views it is surer, so that NMS keeps their boxes.
    """

    test_cfg = ConfigDict(
        rcnn=dict(nms=dict(type="nms", iou_threshold=0.5), max_per_img=100, score_thr=0.05)
    )

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[tuple[int, int], bool]] = []

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
            self.shapes.append((tuple(image.shape[1:]), sample.flip))
            blue, green, red = image.float()
            rows, columns = torch.nonzero(red - torch.maximum(blue, green) > 80, as_tuple=True)
            box = torch.empty(0, 4)
            if len(rows):
                factor = torch.tensor(sample.scale_factor * 2)
                ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                box = torch.stack(ends)[None] / factor
            sample.pred_instances = InstanceData(
                bboxes=box,
                scores=torch.full((len(box),), 0.9 if sample.flip else 0.8),
                labels=torch.full((len(box),), RED),
            )
        return list(data["data_samples"])


@pytest.mark.parametrize(("scales", "slack"), [((), 1.01), ((1.0, 0.5, 1.5), 1.7)], ids=str)
def test_boxes_of_all_views_come_back_to_the_objects(
    budget: DetectionBudget, scales: tuple[float, ...], slack: float
) -> None:
    """The truth is the annotation; views that did not come back would leave a second box."""
    asked = budget.model_copy(
        update={"test_time_scales": scales, "test_time_flip": True, "batch_size": 3}
    )
    test, detector = second_test(asked, interpolation="bilinear"), SeesRed()
    assert test is not None
    metrics, seconds = test.run(detector)
    seen = 0
    for image in (tested.scored for tested in test.metric.tested):  # type: ignore[attr-defined]
        truth = image.truth[image.truth_labels == RED]
        assert len(image.boxes) == min(1, len(truth))
        if len(truth) == 1:
            seen += 1
            assert np.abs(image.boxes[0] - truth[0] - [0, 0, 1, 1]).max() <= slack
            assert image.scores[0] == pytest.approx(0.9)
    assert seen, "an image with one red object"
    assert metrics["n"] == 5
    assert seconds > 0
    # 64 x 60 images, the ratio kept, in batches of 3 and 2; 64 x 64 are the sides at scale 1.
    sides = [(round(60 * scale), round(64 * scale)) for scale in scales or (1.0,)]
    views = {(side, flip) for side in sides for flip in (False, True)}
    assert set(detector.shapes) == views
    assert len(detector.shapes) == 5 * len(views)


def test_the_view_that_a_plain_test_has_gives_what_it_gives(
    folder: Path, budget: DetectionBudget
) -> None:
    artifact = folder / "artifact"
    obtain("scratch:resnet18d", artifact, seed=0, width=0.125)
    seed_globally([0])
    detector = MODELS.build(detector_config(artifact, read_card(artifact), budget))
    detector.init_weights()
    plain = DetectionMetric(budget.metric, len(budget.classes))
    with torch.no_grad():
        for batch in load_test_data(budget, interpolation="bilinear"):
            answers = [sample.to_dict() for sample in detector.eval().test_step(batch)]
            plain.process(batch, answers)
    before = plain.evaluate(5)
    test = second_test(
        budget.model_copy(update={"test_time_scales": (1.0,)}), interpolation="bilinear"
    )
    assert test is not None
    metrics, _ = test.run(detector)
    assert metrics == before
    for ours, theirs in zip(test.metric.tested, plain.tested, strict=True):  # type: ignore[attr-defined]
        assert ours.path == theirs.path
        assert len(theirs.scored.boxes) > 10, "boxes that could differ"
        for part in ("boxes", "scores", "labels", "truth", "truth_labels", "difficult"):
            a, b = getattr(ours.scored, part), getattr(theirs.scored, part)
            assert np.allclose(a, b, atol=1e-6), part


def test_the_protocol_says_views_only_where_there_are_some(
    folder: Path, budget: DetectionBudget
) -> None:
    benchmark = load_benchmark(folder / "squares.toml")

    def protocol(**changes: Any) -> dict[str, Any]:
        changed = budget.model_copy(update=changes)
        return detection_protocol(benchmark.model_copy(update={"detection": changed}), "digest")

    plain = protocol()
    assert "test_time" not in plain
    assert not [key for key in plain["budget"] if "test_time" in key]
    assert second_test(budget, interpolation="bilinear") is None
    views = protocol(test_time_flip=True)
    assert views.pop("test_time") == {"scales": [1.0], "flip": True}
    assert views == plain
    views = protocol(test_time_scales=(1.0, 1.5))
    assert views.pop("test_time") == {"scales": [1.0, 1.5], "flip": False}
    assert views == plain


@pytest.mark.parametrize("wrong", ["test_time_scales = [0.0]", "test_time_scales = [1.0, 1.0]"])
def test_scales_that_are_none_are_refused(folder: Path, wrong: str) -> None:
    file = folder / "wrong.toml"
    text = (folder / "squares.toml").read_text()
    file.write_text(text.replace("[detection]\n", f"[detection]\n{wrong}\n"))
    with pytest.raises(ValueError, match=r"detection.*test_time_scales|detection.*scale"):
        load_benchmark(file)
