"""Random erasing against timm's law, cutout against loops."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstest
from timm.data.random_erasing import RandomErasing as TimmRandomErasing

from classification.tricks.cutout import Cutout, cutout
from classification.tricks.random_erasing import RandomErasing, erase, random_erasing_box

TARGETS = torch.eye(4)


def _erased_box(image: torch.Tensor) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) of the zeros in an image of ones."""
    rows, columns = torch.nonzero(image[0] == 0, as_tuple=True)
    if not len(rows):
        return None
    top, left = int(rows.min()), int(columns.min())
    return top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left


@pytest.mark.parametrize(
    ("area", "ratio"), [((0.02, 1 / 3), (0.3, 3.3)), ((0.3, 0.9), (0.3, 3.3)), ((0.1, 0.4), (1, 4))]
)
def test_boxes_follow_timms_law(area: tuple[float, float], ratio: tuple[float, float]) -> None:
    height, width, n = 40, 56, 1200
    theirs = TimmRandomErasing(
        1.0, *area, min_aspect=ratio[0], max_aspect=ratio[1], mode="const", device="cpu"
    )
    random.seed(0)
    rng = np.random.default_rng(0)
    found = [
        (
            random_erasing_box(rng, height=height, width=width, area=area, aspect_ratio=ratio),
            _erased_box(theirs(torch.ones(1, height, width))),
        )
        for _ in range(n)
    ]
    ours, expected = (np.array([box for box in x if box]) for x in zip(*found, strict=True))
    # Large boxes may fit in none of ten tries.
    assert abs(len(ours) - len(expected)) < 5 * (n / 2) ** 0.5
    for column in range(4):
        assert ks_2samp(ours[:, column], expected[:, column]).pvalue > 1e-3
    assert ks_2samp(ours[:, 2] * ours[:, 3], expected[:, 2] * expected[:, 3]).pvalue > 1e-3
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


def test_no_box_where_none_fits() -> None:
    # Nine times as high as wide and half the image: never inside it.
    rng = np.random.default_rng(0)
    assert random_erasing_box(rng, height=9, width=9, area=(0.5, 0.5), aspect_ratio=(9, 9)) is None


def test_pixels_are_normal_noise_and_the_rest_stays() -> None:
    images = torch.full((2, 3, 60, 60), 7.0)
    erased = erase(images, [(10, 20, 40, 30), None], np.random.default_rng(0), mode="pixel")
    assert (images == 7).all()  # the batch that came in is left alone
    patch = erased[0, :, 10:50, 20:50]
    assert kstest(patch.flatten().numpy(), "norm").pvalue > 1e-3
    assert patch.unique().numel() > 0.99 * patch.numel()
    rest = erased.clone()
    rest[0, :, 10:50, 20:50] = 7
    assert torch.equal(rest, images)


def test_a_color_is_one_number_per_channel_and_the_mean_is_zero() -> None:
    images = torch.full((1, 3, 8, 8), 7.0)
    box = (1, 2, 4, 5)
    colored = erase(images, [box], np.random.default_rng(0), mode="color")[0, :, 1:5, 2:7]
    for channel in colored:
        assert channel.unique().numel() == 1
    assert colored.unique().numel() == 3
    mean = erase(images, [box], np.random.default_rng(0), mode="mean")
    assert (mean == 0).sum() == 3 * 4 * 5
    assert (mean[0, :, 1:5, 2:7] == 0).all()


def test_images_are_erased_with_the_probability() -> None:
    trick, rng, n = RandomErasing(probability=0.25, mode="mean"), np.random.default_rng(1), 2000
    erased, targets = trick.transform_batch(torch.ones(n, 1, 12, 12), torch.ones(n, 1), rng)
    count = int((erased == 0).flatten(1).any(1).sum())
    assert abs(count - n / 4) < 5 * (n * 0.25 * 0.75) ** 0.5
    assert torch.equal(targets, torch.ones(n, 1))


@pytest.mark.parametrize("trick", [RandomErasing(probability=1.0), Cutout(0.5)])
def test_a_batch_is_a_function_of_its_generator(trick: RandomErasing | Cutout) -> None:
    images = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last)
    before = images.clone()
    batches = [
        trick.transform_batch(images, TARGETS, np.random.default_rng(seed))[0] for seed in (0, 0, 1)
    ]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    assert torch.equal(images, before)
    assert batches[0].shape == images.shape
    assert batches[0].dtype == images.dtype
    assert batches[0].is_contiguous(memory_format=torch.channels_last)
    changed = (batches[0] != images).any(1)
    assert changed.flatten(1).any(1).all()
    assert not torch.equal(changed[0], changed[1])  # a box of its own for each image


def test_probability_zero_changes_nothing() -> None:
    images = torch.randn(4, 3, 16, 16)
    same, _ = RandomErasing(probability=0).transform_batch(
        images, TARGETS, np.random.default_rng(0)
    )
    assert torch.equal(same, images)


def test_cutout_by_hand() -> None:
    images = torch.ones(2, 1, 5, 5)
    holes = cutout(images, length=3, centers=torch.tensor([[2, 2], [0, 4]]))[:, 0]
    # Rows and columns 1 to 3; and, partly outside, rows 0 and 1 of columns 3 and 4.
    assert (1 - holes[0]).nonzero().tolist() == [[r, c] for r in (1, 2, 3) for c in (1, 2, 3)]
    assert (1 - holes[1]).nonzero().tolist() == [[0, 3], [0, 4], [1, 3], [1, 4]]


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), length=st.integers(1, 9), data=st.data())
def test_cutout_is_the_loop_of_its_definition(
    height: int, width: int, length: int, data: st.DataObject
) -> None:
    centers = [
        (data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1)))
        for _ in range(2)
    ]
    expected = np.ones((2, 3, height, width), np.float32)
    for image, (row, column) in zip(expected, centers, strict=True):
        for r in range(row - length // 2, row - length // 2 + length):
            for c in range(column - length // 2, column - length // 2 + length):
                if 0 <= r < height and 0 <= c < width:
                    image[:, r, c] = 0
    ours = cutout(torch.ones(2, 3, height, width), length=length, centers=torch.tensor(centers))
    assert np.array_equal(ours.numpy(), expected)


def test_cutouts_centres_are_uniform_over_the_pixels() -> None:
    n, side = 4000, 10
    holes, targets = Cutout(0.1).transform_batch(  # one pixel: its own centre
        torch.ones(n, 1, side, side), torch.ones(n, 1), np.random.default_rng(0)
    )
    assert ((holes == 0).flatten(1).sum(1) == 1).all()
    counts = (holes == 0).sum(0).flatten()
    assert (abs(counts - n / side**2) < 5 * (n / side**2) ** 0.5).all()
    assert torch.equal(targets, torch.ones(n, 1))


@pytest.mark.parametrize(("size", "side"), [(0.5, 8), (1.0, 16), (0.01, 1)])
def test_the_size_is_a_share_of_the_shorter_side(size: float, side: int) -> None:
    holes, _ = Cutout(size).transform_batch(
        torch.ones(300, 1, 16, 40), TARGETS, np.random.default_rng(0)
    )
    sides = [(box[2], box[3]) for image in holes if (box := _erased_box(image))]
    assert max(sides) == (side, side)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomErasing(probability=-0.1),
        lambda: RandomErasing(probability=1.1),
        lambda: RandomErasing(area=(0.0, 0.3)),
        lambda: RandomErasing(area=(0.4, 0.3)),
        lambda: RandomErasing(area=(0.1, 1.0)),
        lambda: RandomErasing(aspect_ratio=(0.0, 3.3)),
        lambda: RandomErasing(aspect_ratio=(3.3, 0.3)),
        lambda: RandomErasing(mode="const"),
        lambda: Cutout(0.0),
        lambda: Cutout(1.5),
    ],
)
def test_knobs_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must .* not "):
        make()
