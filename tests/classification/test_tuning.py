"""What fine-tuning does beside pretraining: closed forms, frozen bits, heads with hidden layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from backbones import create_backbone, save_artifact
from backbones.card import ArtifactError
from backbones.preprocessing import Preprocessing
from classification import feature_cache
from classification.augmentation import augment
from classification.data import Normalizer, TrainingImages, ValidationImages
from classification.feature_cache import CachedFeatures, trains_on_features
from classification.model import Classifier, load_classifier
from classification.optimizers import LookaheadKnobs, Optimizer
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.training import build_classifier
from classification.tricks import (
    BestWeights,
    Distillation,
    GradualUnfreezing,
    HeadOnly,
    HiddenLayers,
    LabelNoise,
    LabelSmoothing,
    LayerDecay,
    ManifoldMixup,
    Mixup,
    PlainViews,
    RandAugment,
    WeightDecay,
)
from classification.tuning import Tuning
from engine.randomness import SampleKey

DIGESTS = {
    "standard": "41854b4d9267ed30",
    "efficient": "13f07d9ae865067f",
    "cosine": "a9e22f73b7825724",
    "smooth": "b89a16419b16332d",
    "distill": "37350686ad339ca5",
    "mixup": "a77c0e6804e5126b",
    "mixup_distill": "5662e58c9a576fa6",
    "ladder256_linear_scaling": "41854b4d9267ed30",
    "ladder256_warmup": "74e9435d3b7d9d2d",
    "ladder256_zero_gamma": "bce4f5cb935bb4ab",
    "ladder256_no_bias_decay": "db7b77f9aa1c4360",
    "ladder256_half_precision": "00f42fcd89f0b239",
    "ladder1024_linear_scaling": "8b1a67f5287cf466",
    "ladder1024_warmup": "703188883c4793db",
    "ladder1024_zero_gamma": "18ab67ddc4fceb31",
    "ladder1024_no_bias_decay": "e966109bcffd7b22",
    "ladder1024_half_precision": "13f07d9ae865067f",
    "usi": "bed81777d33744f1",
    "rsb_a1": "055132a2235f90a6",
    "rsb_a2": "540fa2ae6357bf2a",
    "rsb_a3": "0215a146ed0299f7",
    "noise20": "08e5b7bedf11e54c",
    "noise50": "807711b198b8f8f4",
    "noise80": "50201afd75948849",
}
"""As they were before a recipe could fine-tune: records of pretrainings are found by them."""


def test_recipes_that_tune_nothing_keep_their_digests() -> None:
    assert {name: RECIPES[name].digest()[:16] for name in DIGESTS} == DIGESTS


def test_a_recipe_says_what_it_tunes_and_no_more() -> None:
    assert "tuning" not in Recipe().numbers()
    recipe = Recipe() | LayerDecay(0.5) | HiddenLayers([32, 16], 0.25)
    assert recipe.numbers()["tuning"] == {
        "layer_decay": 0.5,
        "hidden": (32, 16),
        "hidden_dropout": 0.25,
    }
    assert recipe.digest() != Recipe().digest()
    assert (recipe - LayerDecay) == Recipe() | HiddenLayers((32, 16), 0.25)


@pytest.mark.parametrize(
    ("per_stage", "epoch", "frozen"),
    [
        (1.0, 0.0, 4),
        (1.0, 0.999, 4),
        (1.0, 1.0, 3),
        (1.0, 2.0, 2),
        (1.0, 3.5, 1),
        (1.0, 4.0, -1),  # stage 1 comes with the stem
        (1.0, 90.0, -1),
        (0.1, 0.3, 1),  # 0.3 / 0.1 is 2.999... in floats
        (2.5, 7.4, 2),
    ],
)
def test_one_more_stage_learns_after_each_so_many_epochs(
    per_stage: float, epoch: float, frozen: int
) -> None:
    assert Tuning(unfreeze_epochs=per_stage).frozen_stages(epoch) == frozen


def test_all_learns_or_the_head_alone() -> None:
    assert Tuning().frozen_stages(0.0) == -1
    assert {Tuning(head_only=True).frozen_stages(epoch) for epoch in (0.0, 50.0)} == {4}


def test_a_stage_that_would_never_learn_is_refused() -> None:
    Tuning(unfreeze_epochs=4.9).check(epochs=20)
    with pytest.raises(ValueError, match=r"frozen until epoch 20 of 20: unfreeze faster"):
        Tuning(unfreeze_epochs=5).check(epochs=20)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LayerDecay(0.0),
        lambda: LayerDecay(1.0),
        lambda: GradualUnfreezing(0.0),
        lambda: GradualUnfreezing(math.nan),
        lambda: HiddenLayers(()),
        lambda: HiddenLayers((0,)),
        lambda: HiddenLayers("512"),
        lambda: HiddenLayers(512),
        lambda: HiddenLayers((512,), 1.0),
        lambda: Recipe() | GradualUnfreezing(1.0) | HeadOnly(),
    ],
)
def test_what_says_nothing_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        make()


class _Six(nn.Module):
    """A network of six parts in timm's way of saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(6))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"part": r"^parts\.(\d+)"}


def test_layer_decay_gives_the_rates_of_timms() -> None:
    from timm.optim import param_groups_layer_decay

    groups = param_groups_layer_decay(_Six(), weight_decay=0.0, layer_decay=0.65)
    timms = [group["lr_scale"] for group in groups]
    assert (Recipe() | LayerDecay(0.65)).tuning.learning_rate_scales() == pytest.approx(timms)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(create_backbone("resnet18d", width=0.125), 3, hidden=(8,))


def test_the_parts_are_stem_stages_and_head(classifier: Classifier) -> None:
    names = {id(p): name for name, p in classifier.named_parameters()}
    parts = [[names[id(p)] for p in part] for part in classifier.parts()]
    assert sorted(name for part in parts for name in part) == sorted(names.values())
    assert {name.split(".")[1] for name in parts[0]} == {"conv1", "bn1"}
    for stage in range(1, 5):
        assert {name.split(".")[1] for name in parts[stage]} == {f"layer{stage}"}
    assert {name.split(".")[0] for name in parts[5]} == {"head"}


def test_each_part_has_groups_with_a_rate_of_its_own(classifier: Classifier) -> None:
    optimizer = Optimizer(learning_rate=0.1, weight_decay=0.5).build(
        classifier,
        decays=lambda p: p.ndim > 1,
        lr_scale=0.1,
        parts=list(zip((1, 2, 3, 4, 5, 6), classifier.parts(), strict=True)),
    )
    rates = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    expected = [(0.01 * part, decay) for part in range(1, 7) for decay in (0.5, 0.0)]
    np.testing.assert_allclose(rates, expected)


OPTIMIZERS = {
    "sgd": Optimizer(learning_rate=0.1, momentum=0.9, weight_decay=0.1),
    "adamw": Optimizer(name="adamw", learning_rate=0.01, weight_decay=0.1),
    "lookahead": Optimizer(
        learning_rate=0.1, momentum=0.9, weight_decay=0.1, lookahead=LookaheadKnobs(k=2)
    ),
}


@pytest.mark.parametrize(
    "layout",
    [torch.channels_last, pytest.param(torch.contiguous_format, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_frozen_parts_keep_their_bits_and_get_no_gradients(
    name: str, layout: torch.memory_format, classifier: Classifier
) -> None:
    model = copy.deepcopy(classifier).to(memory_format=layout).train()
    optimizer = OPTIMIZERS[name].build(
        model, decays=lambda p: True, parts=[(1.0, part) for part in model.parts()]
    )
    draw = torch.Generator().manual_seed(1)
    frozen_stem = {"conv1", "bn1"}
    for stages in (4, 2, -1):
        model.freeze(stages)
        kept = {f"layer{i}" for i in range(1, stages + 1)} | (frozen_stem if stages > 0 else set())
        before = copy.deepcopy(model.state_dict())
        state = copy.deepcopy({n: optimizer.state.get(p) for n, p in model.named_parameters()})
        for _ in range(2):
            model.train()  # as the loop does before each step
            optimizer.zero_grad()
            images = torch.randn(4, 3, 32, 32, generator=draw).contiguous(memory_format=layout)
            model(images).square().mean().backward()
            optimizer.step()
        for key, tensor in model.state_dict().items():
            is_kept = key.split(".")[1] in kept
            assert torch.equal(tensor, before[key]) == is_kept, (stages, key)
        for key, parameter in model.named_parameters():
            if key.split(".")[1] in kept:
                assert parameter.grad is None
                assert str(optimizer.state.get(parameter)) == str(state[key])
                assert not optimizer.state.get(parameter)  # nor was there any before


def test_a_frozen_backbone_is_not_differentiated_nor_random(classifier: Classifier) -> None:
    model = copy.deepcopy(classifier)
    model.freeze(4)
    seen: list[torch.Tensor] = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    loss = model.train()(images).sum()
    assert seen[0].grad_fn is None
    assert loss.requires_grad
    model.eval()(images)
    assert torch.equal(seen[0], seen[1])
    model.freeze(-1)
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.train().modules())


def test_hidden_layers_are_linear_relu_dropout(classifier: Classifier) -> None:
    head = classifier.head
    assert set(head.state_dict()) == {"weight", "bias", "hidden.0.weight", "hidden.0.bias"}
    features = torch.randn(5, 64)
    (inner,) = head.hidden
    by_hand = (features @ inner.weight.T + inner.bias).clamp(min=0) @ head.weight.T + head.bias
    torch.testing.assert_close(classifier.eval().head(features), by_hand)


def test_dropout_of_hidden_layers_acts_in_training_alone() -> None:
    model = Classifier(
        create_backbone("resnet18d", width=0.125), 3, hidden=(64,), hidden_dropout=0.5
    )
    features = torch.randn(2, 64)
    torch.manual_seed(0)
    first, second = model.train().head(features), model.head(features)
    assert not torch.equal(first, second)
    assert torch.equal(model.eval().head(features), model.head(features))


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_a_head_with_hidden_layers_is_exported_and_loaded(
    hidden: tuple[int, ...], tmp_path: Path
) -> None:
    model = Classifier(create_backbone("resnet18d", width=0.125), 3, hidden=hidden).eval()
    save_artifact(
        tmp_path / "a", model.backbone, {"weights": "trained"}, head=dict(model.head.state_dict())
    )
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_classifier(tmp_path / "a")(images), model(images))


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.pop("weight"),
        lambda head: head.pop("hidden.0.weight"),
        lambda head: head.update({"hidden.1.weight": head["hidden.0.weight"]}),
        lambda head: head.update({"norm.weight": torch.ones(8)}),
        lambda head: head.update({"hidden.0.weight": torch.ones(8, 5)}),
    ],
)
def test_a_head_that_is_none_is_refused(
    change: Callable[[dict[str, torch.Tensor]], Any], tmp_path: Path, classifier: Classifier
) -> None:
    head = {name: tensor.clone() for name, tensor in classifier.head.state_dict().items()}
    change(head)
    save_artifact(tmp_path / "a", classifier.backbone, {"weights": "trained"}, head=head)
    with pytest.raises(ArtifactError, match="hidden layers or without"):
        load_classifier(tmp_path / "a")


def test_a_training_starts_from_an_artifact_under_a_head_of_zeros(
    tmp_path: Path, classifier: Classifier
) -> None:
    used_to = Preprocessing(mean=(1, 2, 3), std=(4, 5, 6), channel_order="BGR")
    save_artifact(
        tmp_path / "a", classifier.backbone, {"weights": "trained", "preprocessing": used_to}
    )

    def built(seed: int, recipe: Recipe) -> Classifier:
        found, notes = build_classifier(
            "resnet18d", recipe, width=0.125, num_classes=4, seed=seed, start=tmp_path / "a"
        )
        assert notes == ()
        return found

    started = built(3, Recipe())
    for name, tensor in classifier.backbone.state_dict().items():
        assert torch.equal(started.backbone.state_dict()[name], tensor)
    assert started.backbone.preprocessing == used_to
    hidden = Recipe() | HiddenLayers(units=(8,))
    for one in (started, built(3, hidden)):
        logits = one.eval()(100 * torch.randn(2, 3, 32, 32))
        assert torch.equal(logits, torch.zeros(2, 4))  # however large the features: a loss of ln 4
    layers = [built(seed, hidden).head.hidden[0].weight for seed in (3, 3, 4)]
    assert torch.equal(layers[0], layers[1])
    assert not torch.equal(layers[0], layers[2])


def test_images_come_in_the_order_of_the_networks_channels() -> None:
    images = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    used_to = Preprocessing(mean=(1, 2, 3), std=(4, 5, 6), channel_order="BGR")
    batch = {"images": images, "labels": torch.zeros(1, dtype=torch.long)}
    for channels_last in (False, True):
        found = Normalizer(used_to, channels_last=channels_last)(batch)["images"][0]
        red, green, blue = images[0].float()
        expected = torch.stack([(blue - 3) / 6, (green - 2) / 5, (red - 1) / 4])
        torch.testing.assert_close(found, expected)


def test_plain_views_are_the_largest_central_square_in_every_epoch() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    recipe = Recipe() | PlainViews()
    for seed in range(5):
        view, lighting = augment(
            image,
            size=20,
            augmentation=recipe.augmentation,
            rng=np.random.default_rng(seed),
            tricks=recipe.acting,
        )
        np.testing.assert_array_equal(view, image[:, 5:25])
        np.testing.assert_array_equal(lighting, 0)


@pytest.mark.parametrize(
    ("trick", "cached"),
    [
        (LabelSmoothing(0.1), True),
        (LabelNoise(0.2), True),
        (WeightDecay(0.1), True),
        (BestWeights(), True),
        (HiddenLayers(), True),
        (RandAugment(), False),
        (Mixup(0.2), False),
        (ManifoldMixup(), False),
        (Distillation("resnet152d_smooth"), False),
    ],
)
def test_features_are_cached_where_no_trick_changes_the_images(trick: Any, cached: bool) -> None:
    recipe = Recipe() | trick
    assert trains_on_features(recipe | HeadOnly() | PlainViews()) == cached
    assert not trains_on_features(recipe | PlainViews())
    assert not trains_on_features(recipe | HeadOnly())


@pytest.mark.parametrize("in_file", [False, True])
def test_cached_features_stand_in_the_place_of_the_images(
    in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "MOST_IN_MEMORY", 0 if in_file else 10**6)
    monkeypatch.setattr(feature_cache, "_BATCH_SIZE", 2)
    samples = []
    for index in range(5):
        cv2.imwrite(
            str(path := tmp_path / f"{index}.png"), np.full((9, 9, 3), 40 * index, np.uint8)
        )
        samples.append((path, index % 3))
    recipe = Recipe() | PlainViews() | LabelNoise(1.0)
    images = TrainingImages(samples, size=8, recipe=recipe, seed=0, num_classes=3)
    cached = CachedFeatures(images, tmp_path / "features.npy")
    cached.fill(lambda batch: batch["images"].float().mean((2, 3)) + 1, workers=0, label="toy")
    assert (tmp_path / "features.npy").exists() == in_file
    batch = cached.__getitems__([SampleKey(9, 4), SampleKey(0, 1)])
    assert batch["images"].tolist() == [[161.0] * 3, [41.0] * 3]  # grey of 40 times the place
    assert batch["labels"].tolist() == [images.label_of(4, 1), images.label_of(1, 1)]
    central = ValidationImages(samples, size=8, resize_size=8)
    with monkeypatch.context() as second:  # of two processes: each has a file of its own
        second.setenv("RANK", "1")
        second.setenv("WORLD_SIZE", "2")
        beside = CachedFeatures(images, tmp_path / "features.npy")
    assert beside.file != cached.file
    beside.fill(lambda batch: batch["images"].float().mean((2, 3)) + 2, workers=0, label="toy")
    assert cached.__getitems__([SampleKey(9, 4)])["images"].tolist() == [[161.0] * 3]
    cached = CachedFeatures(central, tmp_path / "others.npy")
    cached.fill(lambda batch: batch["images"].float().mean((2, 3)), workers=0, label="toy")
    assert cached.__getitems__([3])["images"].tolist() == [[120.0] * 3]
    assert cached.__getitems__([3, 4])["labels"].tolist() == [0, 1]
