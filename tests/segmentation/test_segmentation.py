"""FCN on an artifact: dilated stages, its heads, its data, and scores as scikit-learn counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
)

from backbones import read_card
from backbones.obtain import obtain
from benchmarks.schema import SegmentationBudget, load_benchmark
from engine.finetuning import prepare_openmmlab
from engine.randomness import seed_globally

prepare_openmmlab()
from mmseg.registry import MODELS  # noqa: E402

from segmentation.data import test_data as load_test_data  # noqa: E402
from segmentation.data import training_data  # noqa: E402
from segmentation.metric import SegmentationMetric  # noqa: E402
from segmentation.model import parameter_schedule, segmentor_config  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(build_loss|avg_non_ignore|reduce_zero_label)")

CLASSES = ("sky", "sea", "sand", "ship", "gull")


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


def build(folder: Path, budget: SegmentationBudget, **changes: Any) -> Any:
    artifact, budget = folder / "artifact", budget.model_copy(update=changes)
    return MODELS.build(segmentor_config(artifact, read_card(artifact), budget))


def measure(truths: list[np.ndarray], predictions: list[np.ndarray]) -> dict[str, Any]:
    metric = SegmentationMetric()
    metric.dataset_meta = {"classes": CLASSES}
    for truth, predicted in zip(truths, predictions, strict=True):
        masks = {"gt_sem_seg": truth, "pred_sem_seg": predicted}
        sample = {name: {"data": torch.from_numpy(mask)[None]} for name, mask in masks.items()}
        metric.process({}, [sample])
    return metric.evaluate(len(truths))


def random_masks(seed: int, labels: list[int], predicted: list[int]) -> tuple[Any, Any]:
    """Truths with ignored pixels, and predictions of which more than half are right."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for size in ((17, 23), (30, 11), (8, 40)):
        truth = rng.choice(labels, size)
        wrong = rng.random(size) < 0.4
        predictions.append(np.where(wrong, rng.choice(predicted, size), truth))
        truths.append(np.where(rng.random(size) < 0.2, 255, truth))
    return truths, predictions


def counted(truths: Any, predictions: Any) -> tuple[np.ndarray, np.ndarray]:
    """All pixels that are not ignored, in one row."""
    truth, predicted = (np.concatenate([m.ravel() for m in part]) for part in (truths, predictions))
    return truth[truth != 255], predicted[truth != 255]


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_scikit_learns(seed: int) -> None:
    truths, predictions = random_masks(seed, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    measured = measure(truths, predictions)
    pixels = counted(truths, predictions)
    per_class = 100 * jaccard_score(*pixels, average=None)
    assert measured["per_class"] == pytest.approx(per_class.tolist())
    assert measured["mIoU"] == pytest.approx(100 * jaccard_score(*pixels, average="macro"))
    assert measured["aAcc"] == pytest.approx(100 * accuracy_score(*pixels))
    assert measured["mAcc"] == pytest.approx(100 * balanced_accuracy_score(*pixels))
    assert measured["n"] == 3


def test_classes_that_are_not_there() -> None:
    # 3 is predicted but nowhere labeled: IoU 0, no accuracy. 4 is neither: it does not count.
    truths, predictions = random_masks(0, [0, 1, 2], [0, 1, 2, 3])
    measured = measure(truths, predictions)
    matrix = confusion_matrix(*counted(truths, predictions), labels=range(5))
    hits = np.diag(matrix)[:4]
    ious = 100 * hits / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))[:4]
    assert measured["per_class"] == [*(pytest.approx(value) for value in ious), None]
    assert measured["per_class"][3] == 0
    assert measured["mIoU"] == pytest.approx(np.mean(ious))
    assert measured["mAcc"] == pytest.approx(100 * np.mean(hits[:3] / matrix.sum(1)[:3]))


@pytest.mark.filterwarnings("error")
def test_nothing_but_ignored_pixels_has_no_score() -> None:
    measured = measure([np.full((4, 4), 255)], [np.zeros((4, 4), int)])
    assert measured["per_class"] == [None] * 5
    assert measured["mIoU"] is measured["aAcc"] is measured["mAcc"] is None


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))]
)
@torch.no_grad()
def test_output_stride(
    output_stride: int, strides: tuple[int, ...], folder: Path, budget: SegmentationBudget
) -> None:
    segmentor = build(folder, budget, output_stride=output_stride).eval()
    levels = segmentor.backbone(torch.zeros(1, 3, 64, 96))
    channels = read_card(folder / "artifact").features.channels
    assert [tuple(level.shape[1:]) for level in levels] == [
        (count, 64 // stride, 96 // stride) for count, stride in zip(channels, strides, strict=True)
    ]
    logits = segmentor.decode_head(levels)
    assert logits.shape == (1, 3, 64 // output_stride, 96 // output_stride)


def test_heads_with_and_without_the_auxiliary(folder: Path, budget: SegmentationBudget) -> None:
    channels = read_card(folder / "artifact").features.channels
    batch = next(iter(training_data(budget, interpolation="bilinear", seed=0)))
    names = {}
    for auxiliary in (True, False):
        segmentor = build(folder, budget, auxiliary=auxiliary).train()
        data = segmentor.data_preprocessor(batch, True)
        names[auxiliary] = {name for name in segmentor(**data, mode="loss") if "loss" in name}
        assert segmentor.decode_head.in_channels == channels[3]
        assert segmentor.with_auxiliary_head == auxiliary
        if auxiliary:
            head = segmentor.auxiliary_head
            assert (head.in_channels, head.channels) == (channels[2], budget.head_channels // 2)
            assert segmentor.decode_head.channels == budget.head_channels
    assert names == {True: {"decode.loss_ce", "aux.loss_ce"}, False: {"decode.loss_ce"}}


def test_random_weights_are_not_frozen(folder: Path, budget: SegmentationBudget) -> None:
    segmentor = build(folder, budget, frozen_stages=1, norm_eval=True).train()
    assert all(p.requires_grad for p in segmentor.parameters())
    assert all(m.training for m in segmentor.modules())


def test_truths_count_from_the_first_class_and_ignore_other(budget: SegmentationBudget) -> None:
    loader = load_test_data(budget, interpolation="bilinear")
    samples = [sample for batch in loader for sample in batch["data_samples"]]
    assert len(samples) == 4
    for index, sample in enumerate(samples):
        file = budget.root / "annotations/validation" / f"{index}.png"
        indices = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(int)
        expected = np.where(indices == 0, 255, indices - 1)
        assert np.array_equal(sample.gt_sem_seg.data[0].numpy(), expected)
        assert sample.ori_shape == expected.shape == (40, 48)


def test_training_views_have_the_crops_size(budget: SegmentationBudget) -> None:
    chosen = budget.model_copy(update={"crop_size": (40, 24), "image_size": (96, 80)})
    batch = next(iter(training_data(chosen, interpolation="bilinear", seed=0)))
    assert len(batch["inputs"]) == chosen.batch_size
    for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
        assert image.shape == (3, 24, 40)  # a size is (width, height)
        assert sample.gt_sem_seg.data.shape == (1, 24, 40)
        assert set(sample.gt_sem_seg.data.unique().tolist()) <= {0, 1, 2, 255}


def test_predictions_have_the_size_of_the_truth(folder: Path, budget: SegmentationBudget) -> None:
    chosen = budget.model_copy(update={"image_size": (80, 64)})
    segmentor = build(folder, chosen).eval()
    batch = next(iter(load_test_data(chosen, interpolation="bilinear")))
    assert batch["inputs"][0].shape == (3, 64, 77)  # 40 x 48 scaled to a height of 64
    for predicted in segmentor.test_step(batch):
        assert predicted.pred_sem_seg.data.shape == (1, 40, 48)


def test_the_learning_rate_by_hand(budget: SegmentationBudget) -> None:
    """(base - min) (1 - t / T)^0.9 + min: the last of T + 1 steps has min, 1% of the base."""
    from mmengine.registry import PARAM_SCHEDULERS

    base = budget.learning_rate
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    chosen = budget.model_copy(update={"iterations": 20})
    (config,) = parameter_schedule(chosen)
    scheduler = PARAM_SCHEDULERS.build({**config, "optimizer": optimizer})
    for step in range(20):
        expected = (base - base / 100) * (1 - step / 19) ** 0.9 + base / 100
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        optimizer.step()
        scheduler.step()


def test_one_batch_is_learnt_by_heart(folder: Path, budget: SegmentationBudget) -> None:
    seed_globally([0])
    segmentor = build(folder, budget)
    segmentor.init_weights()
    batch = next(iter(training_data(budget, interpolation="bilinear", seed=0)))
    data = segmentor.train().data_preprocessor(batch, True)
    optimizer = torch.optim.Adam(segmentor.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss, _ = segmentor.parse_losses(segmentor(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.2 * losses[0]
