"""The tricks that mix a batch, against timm, scikit-learn and closed forms; laws of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm.data.mixup
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import one_hot

from backbones.create import create_backbone
from classification.model import Classifier
from classification.tricks.cut_mix import CutMix, cut_mix, random_box
from classification.tricks.input_mixup import InputMixup, input_mixup
from classification.tricks.manifold_mixup import ManifoldMixup
from classification.tricks.mixup import Mixup
from classification.tricks.mixup_or_cut_mix import MixupOrCutMix
from classification.tricks.nearest_neighbor_mixup import (
    NearestNeighborMixup,
    draw_neighbors,
    pixel_distances,
)
from classification.tricks.same_class_mixup import SameClassMixup, same_class_permutation
from classification.tricks.trick import Trick
from classification.tricks.vicinal_noise import VicinalNoise, vicinal_noise

# Every example is mixed into exactly one other.
PERMUTING = [Mixup(0.4), CutMix(), MixupOrCutMix(), SameClassMixup(), InputMixup()]
PAIRING = [
    *PERMUTING,
    NearestNeighborMixup(neighbors=3),
    NearestNeighborMixup(same_class=True),
    NearestNeighborMixup(mix_targets=False),
]
MIXING = [*PAIRING, VicinalNoise(0.1)]
LAWS = settings(max_examples=25, deadline=None)


def batch(
    seed: int, count: int, classes: int, *, side: int = 8
) -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 images and smoothed targets."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.normal(size=(count, 3, side, side)))
    targets = one_hot(torch.from_numpy(rng.integers(classes, size=count)), classes).double()
    return images, 0.9 * targets + 0.1 / classes


seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 9)
class_counts = st.integers(2, 6)


@pytest.mark.parametrize("trick", MIXING, ids=repr)
@LAWS
@given(seed=seeds, count=counts, classes=class_counts)
def test_rows_stay_distributions_and_the_batch_given_stays_as_it_was(
    trick: Trick, seed: int, count: int, classes: int
) -> None:
    images, targets = batch(seed, count, classes)
    before = images.clone(), targets.clone()
    mixed, mixed_targets = trick.transform_batch(images, targets, np.random.default_rng(seed))
    assert mixed.shape == images.shape
    assert mixed_targets.shape == targets.shape
    assert (mixed.dtype, mixed_targets.dtype) == (images.dtype, targets.dtype)
    assert mixed_targets.min() >= 0
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(count, dtype=torch.double))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])


@pytest.mark.parametrize("trick", PAIRING, ids=repr)
@LAWS
@given(seed=seeds, count=counts, classes=class_counts)
def test_no_pixel_leaves_the_range_of_its_place_in_the_batch(
    trick: Trick, seed: int, count: int, classes: int
) -> None:
    images, targets = batch(seed, count, classes)
    mixed, _ = trick.transform_batch(images, targets, np.random.default_rng(seed))
    assert (mixed <= images.amax(0) + 1e-12).all()
    assert (mixed >= images.amin(0) - 1e-12).all()


@pytest.mark.parametrize("trick", PERMUTING, ids=repr)
@LAWS
@given(seed=seeds, count=counts, classes=class_counts)
def test_mixing_with_a_permutation_keeps_the_mean_image_and_the_mean_target(
    trick: Trick, seed: int, count: int, classes: int
) -> None:
    images, targets = batch(seed, count, classes)
    mixed, mixed_targets = trick.transform_batch(images, targets, np.random.default_rng(seed))
    torch.testing.assert_close(mixed.mean(0), images.mean(0))
    torch.testing.assert_close(mixed_targets.mean(0), targets.mean(0))


@pytest.mark.parametrize("trick", MIXING, ids=repr)
def test_the_same_generator_gives_the_same_batch_and_another_another(trick: Trick) -> None:
    images, targets = batch(0, 8, 2)

    def mixed(seed: int) -> torch.Tensor:
        return trick.transform_batch(images, targets, np.random.default_rng(seed))[0]

    assert torch.equal(mixed(1), mixed(1))
    assert not torch.equal(mixed(1), mixed(2))


@pytest.mark.parametrize("trick", MIXING, ids=repr)
def test_the_memory_format_is_kept_and_changes_nothing(trick: Trick) -> None:
    images, targets = batch(0, 8, 2)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        mixed, _ = trick.transform_batch(
            images.to(memory_format=layout), targets, np.random.default_rng(1)
        )
        assert mixed.is_contiguous(memory_format=layout)
        results.append(mixed)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("trick", PAIRING, ids=repr)
def test_a_batch_of_one_has_no_partner(trick: Trick) -> None:
    images, targets = batch(0, 1, 3)
    mixed, mixed_targets = trick.transform_batch(images, targets, np.random.default_rng(1))
    torch.testing.assert_close(mixed, images)
    torch.testing.assert_close(mixed_targets, targets)


class _Reversing:
    """A generator whose permutations are the batch reversed, as timm's partners are."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)[::-1].copy()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)


TIMM: list[tuple[Trick, dict[str, float]]] = [
    (Mixup(0.3), {"mixup_alpha": 0.3}),
    (CutMix(0.7), {"mixup_alpha": 0.0, "cutmix_alpha": 0.7}),
    (
        MixupOrCutMix(0.8, 1.0, switch_probability=0.3, probability=0.7),
        {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "switch_prob": 0.3, "prob": 0.7},
    ),
]


@pytest.mark.parametrize(("trick", "arguments"), TIMM, ids=lambda value: repr(value)[:20])
def test_with_the_reversed_batch_and_its_draws_it_is_timms_mixup(
    trick: Trick, arguments: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = torch.tensor([0, 1, 2, 3, 1, 0])
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3, 9, 14)))
    targets = one_hot(labels, 4).double()
    alone = isinstance(trick, Mixup | CutMix)
    outcomes = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        # Alone ours draws no coin for whether and which; timm always draws the first.
        monkeypatch.setattr(np.random, "rand", lambda a=alone, r=rng: 0.0 if a else r.random())
        monkeypatch.setattr(np.random, "beta", rng.beta)
        monkeypatch.setattr(
            np.random, "randint", lambda low, high, size=None, r=rng: r.integers(low, high)
        )
        theirs = timm.data.mixup.Mixup(
            **{"mixup_alpha": 0.0, **arguments}, label_smoothing=0.0, num_classes=4
        )
        expected, expected_targets = theirs(images.clone(), labels)
        found, found_targets = trick.transform_batch(images, targets, _Reversing(seed))  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found_targets, expected_targets.double(), atol=1e-6, rtol=0)
        cut = bool((found == images).any()) and not torch.equal(found, images)
        outcomes.add("none" if torch.equal(found, images) else "cut" if cut else "mixed")
    wanted = (
        {"cut", "mixed", "none"} if not alone else {"mixed" if trick.name == "mixup" else "cut"}
    )
    assert wanted <= outcomes


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("make", [Mixup, lambda alpha: MixupOrCutMix(alpha, switch_probability=0)])
def test_lambda_follows_its_beta_law(alpha: float, make: Callable[[float], Trick]) -> None:
    rng, trick = np.random.default_rng(1), make(alpha)
    images, targets = torch.zeros(12, 1, 1, 1), torch.eye(12).double()
    lams = []
    for _ in range(600):
        _, mixed = trick.transform_batch(images, targets, rng)
        moved = [i for i in range(12) if mixed[i].count_nonzero() > 1]
        if moved:  # in a permutation without a moved example lambda is not seen
            lams.append(float(mixed[moved[0], moved[0]]))
    assert stats.kstest(lams, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_coins_of_mixup_or_cut_mix_have_their_probabilities() -> None:
    trick = MixupOrCutMix(probability=0.6, switch_probability=0.25)
    rng, targets = np.random.default_rng(0), torch.eye(16)
    images = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 1, 8, 8).contiguous()
    kinds = {"none": 0, "cut": 0, "mixed": 0}
    for _ in range(2000):
        mixed, _ = trick.transform_batch(images, targets, rng)
        if torch.equal(mixed, images):
            kinds["none"] += 1
        else:  # a mixed image is uniform in brightness here, a cut one is not
            kinds["mixed" if (mixed == mixed[:, :, :1, :1]).all() else "cut"] += 1
    # CutMix with a box of no or of all pixels is seen as another kind: less than one in forty.
    assert kinds["none"] / 2000 == pytest.approx(0.4, abs=0.04)
    assert kinds["cut"] / 2000 == pytest.approx(0.6 * 0.25, abs=0.04)
    assert kinds["mixed"] / 2000 == pytest.approx(0.6 * 0.75, abs=0.04)


@LAWS
@given(
    seed=seeds,
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    lam=st.floats(0, 1),
)
def test_a_box_lies_in_the_image_and_is_no_larger_than_its_share(
    seed: int, height: int, width: int, lam: float
) -> None:
    top, bottom, left, right = random_box(
        np.random.default_rng(seed), height=height, width=width, lam=lam
    )
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    assert (bottom - top) * (right - left) <= (1 - lam) * height * width + 1e-9


def test_the_mean_area_of_a_clipped_box_is_its_closed_form() -> None:
    # A side of share r around a uniform centre keeps r - r^2 / 4 of the image's side on average:
    # two of its halves lose r^2 / 8 each.
    rng, side = np.random.default_rng(0), 400
    for lam in (0.75, 0.36):
        r = (1 - lam) ** 0.5
        boxes = [random_box(rng, height=side, width=side, lam=lam) for _ in range(4000)]
        areas = [(b - t) * (right - left) / side**2 for t, b, left, right in boxes]
        assert np.mean(areas) == pytest.approx((r - r**2 / 4) ** 2, rel=0.02)


def test_cut_mix_by_hand() -> None:
    images = torch.stack([torch.zeros(1, 4, 5), torch.ones(1, 4, 5)])
    mixed, targets = cut_mix(images, torch.eye(2), box=(1, 3, 0, 2), perm=torch.tensor([1, 0]))
    expected = torch.zeros(4, 5)
    expected[1:3, 0:2] = 1
    assert torch.equal(mixed[0, 0], expected)
    assert torch.equal(mixed[1, 0], 1 - expected)
    # 4 of 20 pixels come from the partner.
    torch.testing.assert_close(targets, torch.tensor([[0.8, 0.2], [0.2, 0.8]]))


def test_input_mixup_takes_the_label_of_the_heavier_image() -> None:
    images, targets = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.eye(2)
    swap = torch.tensor([1, 0])
    for lam, own in ((0.7, True), (0.5, True), (0.3, False)):
        mixed, labels = input_mixup(images, targets, lam=lam, perm=swap)
        torch.testing.assert_close(mixed.flatten(), torch.tensor([1 - lam, lam]))
        assert torch.equal(labels, targets if own else targets.flip(0))


@LAWS
@given(classes=st.lists(st.integers(0, 3), min_size=1, max_size=20), seed=seeds)
def test_same_class_pairs_are_a_permutation_within_classes(classes: list[int], seed: int) -> None:
    labels = np.array(classes)
    perm = same_class_permutation(labels, np.random.default_rng(seed))
    assert sorted(perm) == list(range(len(labels)))
    assert (labels[perm] == labels).all()


def test_same_class_pairs_are_all_equally_likely() -> None:
    rng, labels = np.random.default_rng(0), np.array([0, 1, 0, 0])
    partners = np.array([same_class_permutation(labels, rng)[0] for _ in range(3000)])
    assert [np.mean(partners == i) for i in (0, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.03)


def test_same_class_mixup_mixes_images_and_keeps_targets() -> None:
    images, _ = batch(0, 6, 2)
    targets = one_hot(torch.tensor([0, 1, 0, 1, 0, 1]), 2).double()
    mixed, mixed_targets = SameClassMixup(1.0).transform_batch(
        images, targets, np.random.default_rng(3)
    )
    torch.testing.assert_close(mixed_targets, targets)
    torch.testing.assert_close(mixed[::2].mean(0), images[::2].mean(0))
    assert not torch.equal(mixed, images)


def _thumbnails(images: torch.Tensor) -> np.ndarray:
    """8 x 8 block means of 16 x 16 images."""
    blocks = images.numpy().reshape(len(images), 3, 8, 2, 8, 2)
    return blocks.mean(axis=(3, 5)).reshape(len(images), -1)


@pytest.mark.parametrize("neighbors", [1, 3])
def test_neighbours_are_scikit_learns(neighbors: int) -> None:
    images, _ = batch(5, 12, 2, side=16)
    thumbnails = _thumbnails(images)
    search = NearestNeighbors(n_neighbors=neighbors + 1).fit(thumbnails)
    known = search.kneighbors(thumbnails, return_distance=False)[:, 1:]  # the first is itself
    distances = pixel_distances(images).fill_diagonal_(torch.inf)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(300):
        draws = torch.from_numpy(rng.random(12))
        drawn.append(draw_neighbors(distances, neighbors=neighbors, draws=draws).numpy())
    for example, candidates in enumerate(known):
        shares = [np.mean([d[example] == c for d in drawn]) for c in candidates]
        assert shares == pytest.approx([1 / neighbors] * neighbors, abs=0.1)


def test_neighbours_are_limited_by_what_there_is() -> None:
    distances = torch.tensor(
        [[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]], dtype=torch.double
    ).fill_diagonal_(torch.inf)
    almost_one = torch.full((3,), 1 - 1e-16, dtype=torch.double)
    assert draw_neighbors(distances, neighbors=9, draws=almost_one).tolist() == [2, 2, 1]
    distances[:, 2] = distances[2, :] = torch.inf
    assert draw_neighbors(distances, neighbors=9, draws=almost_one).tolist() == [1, 0, 2]


def test_nearest_neighbor_mixup_by_hand() -> None:
    values = torch.tensor([0.0, 1.0, 5.0, 5.5])
    images = values.view(4, 1, 1, 1).expand(4, 1, 8, 8).contiguous()
    targets = one_hot(torch.tensor([0, 1, 0, 0]), 2).float()
    lam = np.random.default_rng(0).beta(1.0, 1.0)
    assert 0.5 < lam < 0.95
    mixed, labels = NearestNeighborMixup().transform_batch(
        images, targets, np.random.default_rng(0)
    )
    partners = torch.tensor([1, 0, 3, 2])
    torch.testing.assert_close(mixed[:, 0, 0, 0], lam * values + (1 - lam) * values[partners])
    torch.testing.assert_close(labels, lam * targets + (1 - lam) * targets[partners])
    _, labels = NearestNeighborMixup(mix_targets=False).transform_batch(
        images, targets, np.random.default_rng(0)
    )
    assert torch.equal(labels, targets)
    # Within its class, 0 is nearest to 5; the only one of class 1 stays.
    mixed, labels = NearestNeighborMixup(same_class=True).transform_batch(
        images, targets, np.random.default_rng(0)
    )
    partners = torch.tensor([2, 1, 3, 2])
    torch.testing.assert_close(mixed[:, 0, 0, 0], lam * values + (1 - lam) * values[partners])
    torch.testing.assert_close(labels, targets)


def test_vicinal_noise_is_normal_with_its_std() -> None:
    images, targets = torch.full((4, 3, 32, 32), 7.0), torch.eye(4)
    noisy, same = VicinalNoise(0.2).transform_batch(images, targets, np.random.default_rng(0))
    assert same is targets
    noise = (noisy - images).flatten().numpy()
    assert stats.kstest(noise / 0.2, "norm").pvalue > 0.01
    by_hand = vicinal_noise(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), -3.0), std=0.5)
    assert by_hand.item() == -0.5


@pytest.fixture(scope="module")
def resnet() -> Classifier:
    torch.manual_seed(0)
    return Classifier(create_backbone("resnet18d", width=0.125), 5).eval().double()


def by_hand(resnet: Classifier, images: torch.Tensor, layer: int, mix: Any) -> torch.Tensor:
    """The classifier written out, with `mix` behind a layer."""
    x = mix(images) if layer == 0 else images
    trunk = resnet.backbone
    x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(x))))
    for number, stage in enumerate((trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4), 1):
        x = stage(x)
        if layer == number:
            x = mix(x)
    return x.mean(dim=(2, 3)) @ resnet.head.weight.T + resnet.head.bias


@pytest.mark.parametrize("layer", range(5))
def test_manifold_mixup_is_the_network_written_out(resnet: Classifier, layer: int) -> None:
    images, targets = batch(1, 6, 5, side=32)
    trick = ManifoldMixup(alpha=2.0, layers=(layer,))
    assert trick.initialize(resnet, seed=0) is None
    outputs, mixed_targets = trick.forward(resnet, images, targets, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    rng.integers(1)
    lam, perm = rng.beta(2.0, 2.0), torch.from_numpy(rng.permutation(6))

    def mix(values: torch.Tensor) -> torch.Tensor:
        return lam * values + (1 - lam) * values[perm]

    torch.testing.assert_close(outputs, by_hand(resnet, images, layer, mix))
    torch.testing.assert_close(mixed_targets, mix(targets))
    # Nothing of it stays behind.
    torch.testing.assert_close(resnet(images), by_hand(resnet, images, -1, None))


def test_manifold_mixup_draws_each_of_its_layers(resnet: Classifier) -> None:
    images, targets = batch(1, 4, 5, side=32)
    trick, hooked = ManifoldMixup(layers=(0, 1, 3)), []
    stages = resnet.backbone.stages

    for seed in range(30):
        before = [len(stage._forward_hooks) for stage in stages]
        counted: list[int] = []
        watch = resnet.head.register_forward_hook(
            lambda *_, c=counted, b=before: c.extend(
                i + 1 for i, s in enumerate(stages) if len(s._forward_hooks) > b[i]
            )
        )
        trick.forward(resnet, images, targets, np.random.default_rng(seed))
        watch.remove()
        hooked.append(counted[0] if counted else 0)
    assert set(hooked) == {0, 1, 3}
    assert max(hooked.count(layer) for layer in (0, 1, 3)) < 20


def test_manifold_mixup_leaves_gradients_through_the_mixture(resnet: Classifier) -> None:
    images, targets = batch(1, 4, 5, side=32)
    outputs, _ = ManifoldMixup(layers=(2,)).forward(
        resnet, images, targets, np.random.default_rng(0)
    )
    (gradient,) = torch.autograd.grad(outputs.sum(), [resnet.backbone.conv1[0].weight])
    assert gradient.abs().sum() > 0


def test_manifold_mixup_leaves_no_hook_behind_a_failure(resnet: Classifier) -> None:
    with pytest.raises(RuntimeError):
        ManifoldMixup(layers=(1,)).forward(
            resnet, torch.zeros(2, 4, 32, 32).double(), torch.eye(2), np.random.default_rng(0)
        )
    assert not any(stage._forward_hooks for stage in resnet.backbone.stages)


def test_manifold_mixup_says_before_training_where_it_cannot(resnet: Classifier) -> None:
    with pytest.raises(ValueError, match="resnet18d has 4 stages"):
        ManifoldMixup(layers=(0, 5)).initialize(resnet, seed=0)

    class Plain(torch.nn.Module):
        architecture = "timm:plain"

    other = torch.nn.Module()
    other.backbone = Plain()
    with pytest.raises(ValueError, match=r"timm:plain does not say its stages .*Use mixup"):
        ManifoldMixup().initialize(other, seed=0)  # type: ignore[arg-type]

    # An auxiliary head on the third level (index 2) reads the mixture of layer 3, not of layer 4.
    two_headed = torch.nn.Module()
    two_headed.backbone = Plain()
    two_headed.backbone.stages = tuple(torch.nn.Identity() for _ in range(4))
    two_headed.backbone.auxiliary_level = 2
    assert ManifoldMixup(layers=(3,)).initialize(two_headed, seed=0) is None  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="auxiliary head of timm:plain reads layer 3"):
        ManifoldMixup(layers=(0, 4)).initialize(two_headed, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixup(0), "alpha must be positive, not 0"),
        (lambda: Mixup(-1), "alpha must be positive, not -1"),
        (lambda: Mixup(float("nan")), "alpha must be positive, not nan"),
        (lambda: CutMix(-1), "alpha must be positive, not -1"),
        (lambda: SameClassMixup(0), "alpha must be positive, not 0"),
        (lambda: InputMixup(0), "alpha must be positive, not 0"),
        (lambda: MixupOrCutMix(mixup_alpha=0), "mixup_alpha must be positive, not 0"),
        (lambda: MixupOrCutMix(cutmix_alpha=-2), "cutmix_alpha must be positive, not -2"),
        (lambda: MixupOrCutMix(probability=1.5), r"probability must lie in \[0, 1\], not 1.5"),
        (lambda: MixupOrCutMix(switch_probability=-1), "switch_probability must lie in"),
        (lambda: NearestNeighborMixup(neighbors=0), "neighbors must be at least 1, not 0"),
        (lambda: ManifoldMixup(layers=()), r"layers must be 0 or above and increasing, not \(\)"),
        (lambda: ManifoldMixup(layers=(2, 1)), "increasing, not"),
        (lambda: ManifoldMixup(layers=(-1, 1)), "0 or above"),
        (lambda: VicinalNoise(0), "std must be positive, not 0"),
    ],
)
def test_knobs_of_mixing_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
