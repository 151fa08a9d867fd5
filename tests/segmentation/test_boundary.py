"""Boundary IoU as its authors compute it: one mask at a time, eroded step by step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from segmentation.boundary import boundary_counts, near_outlines


def boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """After `mask_to_boundary` of bowenc0221/boundary-iou-api: what `width` erosions by 3 x 3 take
    away, with nothing beyond the image's edge."""
    eroded = binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    return mask & ~eroded


def masks(seed: int, shape: tuple[int, int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of classes, some of them ignored; the prediction is shifted, and noisy."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (1 + shape[0] // 9, 1 + shape[1] // 11))
    label = np.kron(blocks, np.ones((9, 11), int))[: shape[0], : shape[1]]
    predicted = np.roll(label, (2, -1), (0, 1))
    predicted = np.where(rng.random(shape) < 0.02, rng.integers(0, classes, shape), predicted)
    label = label.copy()
    label[: shape[0] // 4, : shape[1] // 3] = 255
    return predicted.astype(np.uint8), label.astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "classes", "width"),
    [((40, 48), 3, 1), ((96, 96), 10, 3), ((120, 200), 150, 5), ((7, 5), 2, 1)],
)
def test_counts_are_those_of_masks_one_by_one(
    shape: tuple[int, int], classes: int, width: int
) -> None:
    predicted, label = masks(sum(shape), shape, classes)
    counts = boundary_counts(predicted, label, classes)
    known = label != 255
    for number in range(classes):
        ours = boundary((predicted == number) & known, width)
        truth = boundary(label == number, width)
        assert counts[0, number] == (ours & truth).sum()
        assert counts[1, number] == (ours | truth).sum()
    assert 0 < counts[0].sum() < counts[1].sum()


def test_a_square_by_hand() -> None:
    # 100 x 75: a diagonal of 125, a width of 2.5, rounded to even. A square of 20 has a frame of
    # 400 - 16 * 16 pixels; shifted by one column, frame and frame share 20 * 19 - 16 * 15 but for
    # the columns where one's frame lies on the other's inside.
    label = np.zeros((75, 100), np.uint8)
    label[20:40, 30:50] = 1
    assert boundary_counts(label, label, 2)[:, 1].tolist() == [144, 144]
    frame = near_outlines(label, 2)
    assert frame[20:40, 30:50].sum() == 144
    assert frame[:2].all()
    assert frame[:, :2].all()
    assert not frame[5:15, 5:25].any()


def test_nothing_but_ignored_pixels() -> None:
    nothing = np.full((10, 12), 255, np.uint8)
    assert not boundary_counts(np.zeros_like(nothing), nothing, 3).any()
