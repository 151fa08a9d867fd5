"""The classifier under a recipe's losses, its metric, its input, and what is exported of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score, top_k_accuracy_score

from backbones import create_backbone, load_artifact, load_head, save_artifact
from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from classification.data import Normalizer
from classification.metric import AnswerMetric
from classification.model import Classifier, TrainedClassifier
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.teacher import load_teacher
from classification.training import build_classifier, exported
from classification.tricks import Distillation, LabelSmoothing, Mixup

WIDTH, SIZE, CLASSES = 0.125, 32, 6


def classifier(seed: int = 0) -> Classifier:
    return build_classifier("resnet18d", Recipe(), width=WIDTH, num_classes=CLASSES, seed=seed)[0]


def trained(recipe: Recipe, teacher: Classifier | None = None) -> TrainedClassifier:
    """In eval mode, so that a loss can be computed again from the same logits."""
    normalizer = Normalizer(IMAGENET_PAPER, channels_last=False)
    model = TrainedClassifier(
        classifier(), recipe, num_classes=CLASSES, normalizer=normalizer, teacher=teacher
    )
    return model.eval()


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    return images, torch.randint(0, CLASSES, (count,), generator=generator)


def log_softmax(logits: torch.Tensor) -> np.ndarray:
    z = logits.detach().double().numpy()
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def soft_cross_entropy(targets: np.ndarray, log_probabilities: np.ndarray) -> float:
    return float(-(targets * log_probabilities).sum(axis=1).mean())


def measure(logits: torch.Tensor, labels: torch.Tensor, *, batch_size: int) -> dict:
    metric = AnswerMetric(logits.shape[1])
    for start in range(0, len(labels), batch_size):
        part = (logits[start : start + batch_size], labels[start : start + batch_size])
        samples = [{"logits": z, "label": y} for z, y in zip(*part, strict=True)]
        metric.process(None, samples)
    return metric.evaluate(len(labels))


def test_accuracy_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(203, 12, generator=generator)
    labels = torch.randint(0, 11, (203,), generator=generator)  # none of class 11
    logits[torch.arange(203), labels] += 1
    metrics = measure(logits, labels, batch_size=16)
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=range(12))
        assert metrics[f"top{k}"] == pytest.approx(100 * expected)
    assert 20 < metrics["top1"] < metrics["top5"] < 100
    recalls = recall_score(labels, logits.argmax(1), labels=range(11), average=None)
    assert metrics["top1_per_class"] == [*(pytest.approx(100 * value) for value in recalls), None]
    assert metrics["n"] == 203


@pytest.mark.filterwarnings("ignore:'k'")  # scikit-learn warns that the score is perfect
def test_with_fewer_than_five_classes_top5_is_perfect() -> None:
    logits, labels = torch.randn(9, 3), torch.arange(9) % 3
    metrics = measure(logits, labels, batch_size=9)
    assert metrics["top5"] == 100 * top_k_accuracy_score(labels, logits, k=5)


def test_smoothed_loss_by_hand() -> None:
    model = trained(Recipe() | LabelSmoothing(0.1))
    images, labels = batch()
    targets = np.full((8, CLASSES), 0.1 / (CLASSES - 1))
    targets[np.arange(8), labels] = 0.9
    expected = soft_cross_entropy(targets, log_softmax(model.classifier(images)))
    losses = model(images, labels, mode="loss")
    assert losses.keys() == {"loss_targets"}
    assert losses["loss_targets"].item() == pytest.approx(expected, rel=1e-5)


def test_mixed_loss_by_hand() -> None:
    model = trained(Recipe() | Mixup(alpha=0.4))
    images, labels = batch()
    # The step's generator gives lambda first, then the partners.
    rng = np.random.default_rng(3)
    lam, partners = rng.beta(0.4, 0.4), rng.permutation(8)
    assert 0.01 < lam < 0.99
    mixed = lam * images + (1 - lam) * images[partners]
    log_p = log_softmax(model.classifier(mixed))
    one_hot = np.eye(CLASSES)
    expected = lam * soft_cross_entropy(one_hot[labels], log_p) + (1 - lam) * soft_cross_entropy(
        one_hot[labels[partners]], log_p
    )
    model.rng = np.random.default_rng(3)
    loss = model(images, labels, mode="loss")["loss_targets"]
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_frozen_teacher_adds_its_loss() -> None:
    teacher = classifier(seed=1)
    model = trained(Recipe() | Distillation("resnet18d_smooth", temperature=4), teacher)
    images, labels = batch()
    z, r = model.classifier(images), teacher.eval()(images)
    soft = np.exp(log_softmax(r / 4))
    expected = {
        "loss_targets": soft_cross_entropy(np.eye(CLASSES)[labels], log_softmax(z)),
        "loss_teacher": 16 * soft_cross_entropy(soft, log_softmax(z / 4)),
    }
    losses = model(images, labels, mode="loss")
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)

    model.train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    total, _ = model.parse_losses(model(images, labels, mode="loss"))
    total.backward()
    assert all(parameter.grad is not None for parameter in model.classifier.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name}: its statistics moved"


def test_the_teacher_is_not_saved_but_goes_where_the_student_goes() -> None:
    teacher = classifier(seed=1)
    recipe = Recipe() | Distillation("resnet18d_smooth")
    with_teacher, without = trained(recipe, teacher), trained(Recipe())
    assert with_teacher.state_dict().keys() == without.state_dict().keys()
    assert {id(p) for p in with_teacher.parameters()}.isdisjoint(
        id(p) for p in teacher.parameters()
    )
    with_teacher.to("meta")
    assert {tensor.device.type for tensor in teacher.state_dict().values()} == {"meta"}


def test_prediction_gives_logits_and_labels() -> None:
    model, (images, labels) = trained(Recipe()), batch()
    samples = model(images, labels, mode="predict")
    logits = torch.stack([sample["logits"] for sample in samples])
    assert torch.equal(logits, model(images, labels))
    assert [int(sample["label"]) for sample in samples] == labels.tolist()


def test_normalizer_by_hand() -> None:
    prep = Preprocessing(mean=(10, 20, 30), std=(2, 4, 5))
    pixels = torch.tensor([12, 28, 40], dtype=torch.uint8).view(1, 3, 1, 1).repeat(2, 1, 4, 6)
    data = {"images": pixels, "labels": torch.tensor([1, 2])}
    lighting = torch.tensor([[0.0, 0.0, 0.0], [-250.0, 4.0, 400.0]])
    for channels_last in (False, True):
        normalizer = Normalizer(prep, channels_last=channels_last)
        plain = normalizer(data)
        assert plain["images"][1, :, 3, 5].tolist() == [1.0, 2.0, 2.0]
        assert plain["labels"].tolist() == [1, 2]
        lit = normalizer({**data, "lighting": lighting})["images"]
        assert lit[0].equal(plain["images"][0])
        # Added to floats: neither clipped to 0..255 nor wrapped around.
        assert lit[1, :, 0, 0].tolist() == [(12 - 250 - 10) / 2, 3.0, (40 + 400 - 30) / 5]
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert lit.is_contiguous(memory_format=layout)
        assert normalizer.state_dict() == {}, "mean and std belong to the card, not the weights"


def test_exported_backbone_and_head_say_what_the_classifier_says(tmp_path: Path) -> None:
    original = classifier().to(memory_format=torch.channels_last)
    with torch.no_grad():
        original.head.bias.copy_(torch.arange(CLASSES))
    backbone, head = exported(original)
    assert all(tensor.is_contiguous() for tensor in backbone.state_dict().values())
    save_artifact(tmp_path / "a", backbone, {"weights": "trained", "seed": 0}, head=head)

    images, _ = batch()
    features = load_artifact(tmp_path / "a")(images)[-1].mean(dim=(2, 3))
    stored = load_head(tmp_path / "a")
    by_hand = features @ stored["weight"].T + stored["bias"]
    torch.testing.assert_close(original.eval()(images), by_hand)
    teacher = load_teacher(str(tmp_path / "a"), num_classes=CLASSES)
    error = (teacher(images) - by_hand).abs().max()  # half precision, where the machine has it
    assert error < 0.02 * by_hand.std()
    with pytest.raises(ValueError, match=f"{CLASSES} classes, the data set 7"):
        load_teacher(str(tmp_path / "a"), num_classes=7)


def test_a_seed_draws_the_whole_classifier() -> None:
    states = [classifier(seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    matrices = [name for name, tensor in states[0].items() if tensor.ndim > 1]
    assert not any(torch.equal(states[0][name], states[2][name]) for name in matrices)


@pytest.mark.parametrize("recipe", RECIPES)
def test_tricks_act_on_the_initial_weights(recipe: str) -> None:
    built, remarks = build_classifier(
        "resnet18d", RECIPES[recipe], width=WIDTH, num_classes=2, seed=0
    )
    assert remarks == (), "all of them have something to act on in a ResNet"
    norms = [m for m in built.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    zeroed = [norm for norm in norms if not norm.weight.any()]
    # Zero-gamma: the last norm of each of ResNet-18's eight residual blocks.
    assert len(zeroed) == (8 if "zero_gamma" in RECIPES[recipe].trick_names else 0)


def test_the_head_reads_the_channels_of_the_last_level() -> None:
    backbone = create_backbone("resnet18d", width=WIDTH)
    assert Classifier(backbone, 5).head.in_features == backbone.features.channels[-1] == 64
