"""Faster R-CNN on an artifact: the same backbone, its own preprocessing, and it learns."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from backbones import load_artifact, read_card, save_artifact
from backbones.features import FeatureSpec
from backbones.obtain import obtain
from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from benchmarks.schema import DetectionBudget, SegmentationBudget, load_benchmark
from classification.data import Normalizer
from classification.model import Classifier
from classification.recipes import RECIPES
from classification.training import build_classifier, exported
from engine.finetuning import prepare_openmmlab
from engine.randomness import seed_globally

prepare_openmmlab()
from mmdet.registry import MODELS  # noqa: E402

from detection.data import test_data as load_test_data  # noqa: E402
from detection.data import training_data  # noqa: E402
from detection.model import detector_config, parameter_schedule  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(build_loss|avg_non_ignore)")


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


@pytest.fixture(scope="module")
def random_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifacts") / "random"
    obtain("scratch:resnet18d", directory, seed=0, width=0.125)
    return directory


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Whose batch norms have seen images."""
    built, _ = build_classifier("resnet18d", RECIPES["smooth"], width=0.25, num_classes=3, seed=0)
    with torch.no_grad():
        for _ in range(3):
            built.train()(2 * torch.randn(4, 3, 64, 64) + 1)
    return built.eval()


@pytest.fixture(scope="module")
def trained_artifact(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifacts") / "trained"
    backbone, head = exported(classifier)
    facts = {"weights": "trained", "seed": 0, "preprocessing": IMAGENET_PAPER}
    save_artifact(directory, backbone, facts, head=head)
    return directory


def build_detector(artifact: Path, budget: DetectionBudget) -> Any:
    return MODELS.build(detector_config(artifact, read_card(artifact), budget))


def build_segmentor(artifact: Path, folder: Path, *, output_stride: int) -> Any:
    from mmseg.registry import MODELS as SEGMENTORS

    from segmentation.model import segmentor_config

    budget = load_benchmark(folder / "squares.toml").segmentation
    assert isinstance(budget, SegmentationBudget)
    budget = budget.model_copy(update={"output_stride": output_stride})
    return SEGMENTORS.build(segmentor_config(artifact, read_card(artifact), budget))


def assert_same_bits(ours: tuple[torch.Tensor, ...], theirs: tuple[torch.Tensor, ...]) -> None:
    for level, a, b in zip(("C2", "C3", "C4", "C5"), ours, theirs, strict=True):
        assert torch.equal(a, b), level


@torch.no_grad()
def test_one_backbone_in_classifier_detector_and_segmentor(
    classifier: Classifier, trained_artifact: Path, budget: DetectionBudget, folder: Path
) -> None:
    images = torch.randn(2, 3, 64, 96)
    levels = classifier.backbone(images)
    assert all(level.std() > 0.01 for level in levels), "features that could tell a difference"
    detector = build_detector(trained_artifact, budget).eval()
    segmentor = build_segmentor(trained_artifact, folder, output_stride=32).eval()
    dilated = build_segmentor(trained_artifact, folder, output_stride=8).eval()
    same_but_dilated = load_artifact(trained_artifact, output_stride=8)(images)
    for _ in ("as built", "after init_weights"):
        assert_same_bits(detector.backbone(images), levels)
        assert_same_bits(segmentor.backbone(images), levels)
        assert_same_bits(dilated.backbone(images), same_but_dilated)
        assert_same_bits(dilated.backbone(images)[:2] + levels[2:], levels)  # C2, C3 are as ever
        for model in (detector, segmentor, dilated):
            model.init_weights()
            model.train()
            model.eval()


def test_the_three_normalize_a_pixel_alike(
    trained_artifact: Path, budget: DetectionBudget, folder: Path
) -> None:
    file = folder / "VOCdevkit/VOC2007/JPEGImages/test0.jpg"
    bgr = torch.from_numpy(cv2.imread(str(file))).permute(2, 0, 1)
    rgb = {"images": bgr.flip(0)[None], "labels": torch.zeros(1)}
    expected = Normalizer(IMAGENET_PAPER, channels_last=False)(rgb)["images"]
    detector = build_detector(trained_artifact, budget)
    inputs = detector.data_preprocessor({"inputs": [bgr]})["inputs"]
    height, width = expected.shape[-2:]  # the detector pads to a multiple of 32
    torch.testing.assert_close(inputs[:, :, :height, :width], expected)
    segmentor = build_segmentor(trained_artifact, folder, output_stride=8)
    inputs = segmentor.data_preprocessor({"inputs": [bgr]})["inputs"]
    torch.testing.assert_close(inputs, expected)


@pytest.mark.parametrize(
    ("spec", "width"), [("scratch:resnet18d", 0.25), ("scratch:timm:mobilenetv3_small_050", 1.0)]
)
def test_the_neck_reads_the_backbones_channels(
    spec: str, width: float, budget: DetectionBudget, tmp_path: Path
) -> None:
    card = obtain(spec, tmp_path / "a", seed=0, width=width)
    detector = build_detector(tmp_path / "a", budget)
    laterals = [lateral.conv.in_channels for lateral in detector.neck.lateral_convs]
    assert laterals == list(card.features.channels)
    pyramid = detector.extract_feat(torch.zeros(1, 3, 64, 64))
    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (16, 16, 16), (16, 8, 8), (16, 4, 4), (16, 2, 2), (16, 1, 1)
    ]  # fmt: skip


def test_other_strides_are_refused(random_artifact: Path, budget: DetectionBudget) -> None:
    card = read_card(random_artifact)
    for strides in ((4, 8, 8, 8), (2, 4, 8, 16)):
        features = FeatureSpec(channels=card.features.channels, strides=strides)
        dilated = card.model_copy(update={"features": features})
        with pytest.raises(ValueError, match=r"\(4, 8, 16, 32\)"):
            detector_config(random_artifact, dilated, budget)


def test_what_is_frozen(
    random_artifact: Path, trained_artifact: Path, budget: DetectionBudget
) -> None:
    assert (budget.frozen_stages, budget.norm_eval) == (1, True)
    trained = build_detector(trained_artifact, budget).train().backbone
    frozen = {name.split(".")[1] for name, p in trained.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert not any(m.training for m in trained.modules() if isinstance(m, torch.nn.BatchNorm2d))

    random = build_detector(random_artifact, budget).train().backbone
    assert all(p.requires_grad for p in random.parameters())
    assert all(m.training for m in random.modules() if isinstance(m, torch.nn.BatchNorm2d))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_artifacts_preprocessing_is_used(
    interpolation: str, random_artifact: Path, budget: DetectionBudget, tmp_path: Path
) -> None:
    backbone = load_artifact(random_artifact)
    backbone.preprocessing = Preprocessing(
        mean=(10, 20, 30), std=(1, 2, 4), channel_order="BGR", interpolation=interpolation
    )
    card = save_artifact(tmp_path / "a", backbone, {"weights": "imported"})
    detector = build_detector(tmp_path / "a", budget)
    # The file's channels are blue, green, red; mean and std are written red, green, blue.
    pixel = torch.tensor([34, 22, 13], dtype=torch.uint8).view(3, 1, 1).repeat(1, 32, 32)
    inputs = detector.data_preprocessor({"inputs": [pixel]})["inputs"]
    assert inputs[0, :, 0, 0].tolist() == [(34 - 30) / 4, (22 - 20) / 2, (13 - 10) / 1]

    for loader in (
        training_data(budget, interpolation=card.preprocessing.interpolation, seed=0),
        load_test_data(budget, interpolation=card.preprocessing.interpolation),
    ):
        dataset = getattr(loader.dataset, "dataset", loader.dataset)
        (resize,) = [t for t in dataset.pipeline.transforms if type(t).__name__ == "Resize"]
        assert resize.interpolation == interpolation


def test_data_is_vocs_with_difficult_objects_apart(budget: DetectionBudget) -> None:
    loader = load_test_data(budget, interpolation="bilinear")
    samples = [sample for batch in loader for sample in batch["data_samples"]]
    assert len(samples) == 5
    for index, sample in enumerate(samples):
        assert sample.img_path.endswith(f"test{index}.jpg")
        assert sample.ori_shape == (60, 64)
        assert len(sample.ignored_instances) == (index % 3 == 0)
        assert len(sample.gt_instances) + len(sample.ignored_instances) == 2
        # The color inside a box is its class's: blue, green or red in the file's BGR.
        pixels = cv2.imread(sample.img_path).astype(float)
        for instance in sample.gt_instances:
            x1, y1, x2, y2 = instance.bboxes.tensor[0].int().tolist()
            assert 13 <= x2 - x1 <= 19, "corners are inside the object: its side minus one"
            mean = pixels[y1 : y2 + 1, x1 : x2 + 1].mean(axis=(0, 1))
            assert int(np.argmax(mean)) == int(instance.labels)


def test_boxes_without_area_are_left_out(
    budget: DetectionBudget, make_benchmark: Any, tmp_path: Path
) -> None:
    toml = make_benchmark(tmp_path)
    file = tmp_path / "VOCdevkit/VOC2007/Annotations/test1.xml"
    corners = "<xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax>"
    flat = f"<object><name>red</name><bndbox>{corners}</bndbox></object>"
    file.write_text(file.read_text().replace("</annotation>", f"{flat}</annotation>"))
    found = load_benchmark(toml).detection
    assert found is not None
    loader = load_test_data(found, interpolation="bilinear")
    samples = [sample for batch in loader for sample in batch["data_samples"]]
    assert [len(s.gt_instances) + len(s.ignored_instances) for s in samples] == [2] * 5


def test_the_learning_rate_by_hand(budget: DetectionBudget) -> None:
    """A tenth at each milestone, after a linear warmup from a thousandth."""
    from mmengine.optim import build_optim_wrapper  # noqa: F401 - registers the schedulers
    from mmengine.registry import PARAM_SCHEDULERS

    chosen = budget.model_copy(
        update={"iterations": 20, "warmup_iterations": 4, "milestones": (0.5, 0.75)}
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    schedulers = [
        PARAM_SCHEDULERS.build({**config, "optimizer": optimizer})
        for config in parameter_schedule(chosen)
    ]
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"] / 0.02)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    warm = [0.001 + 0.999 * step / 3 for step in range(4)]
    assert rates == pytest.approx([*warm, *[1] * 6, *[0.1] * 5, *[0.01] * 5], rel=1e-6)


@pytest.mark.slow
def test_one_batch_is_learnt_by_heart(
    budget: DetectionBudget, folder: Path, tmp_path: Path
) -> None:
    obtain("scratch:resnet18d", tmp_path / "a", seed=0, width=0.25)
    budget = budget.model_copy(update={"fpn_channels": 32, "head_channels": 128})
    seed_globally([0])
    detector = build_detector(tmp_path / "a", budget)
    detector.init_weights()
    detector.train()
    batch = next(iter(training_data(budget, interpolation="bilinear", seed=0)))
    data = detector.data_preprocessor(batch, True)
    optimizer = torch.optim.Adam(detector.parameters(), lr=1e-3)
    losses = []
    for step in range(90):
        seed_globally([0, step])
        loss, _ = detector.parse_losses(detector(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.2 * losses[0]

    detector.eval()
    with torch.no_grad():
        predictions = detector.predict(
            data["inputs"], deepcopy(data["data_samples"]), rescale=False
        )
    for predicted, sample in zip(predictions, data["data_samples"], strict=True):
        found, truth = predicted.pred_instances, sample.gt_instances
        sure = found.scores > 0.8
        assert sorted(found.labels[sure].tolist()) == sorted(truth.labels.tolist())
        for box, label in zip(truth.bboxes, truth.labels, strict=True):
            (match,) = found.bboxes[sure & (found.labels == label)]
            torch.testing.assert_close(match, box, atol=3, rtol=0)  # pixels
