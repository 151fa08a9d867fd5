"""The few images of a test set that are kept to be looked at."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.sample_pictures import names_below, sample_picture, sample_places, small_mask


def test_the_same_images_are_chosen_in_any_order_and_place() -> None:
    names = [f"images/validation/{n:04}.jpg" for n in range(50)]
    expected = set(sorted(names, key=lambda name: sha256(name.encode()).hexdigest())[:6])
    for ours in (names, names[::-1]):
        places = sample_places(ours)
        assert {ours[place] for place in places} == expected
        assert list(places) == sorted(places)
    assert sample_places(names[:2]) == (0, 1)
    assert sample_places([]) == ()
    for root in ("/data", "/other/place"):
        assert names_below(Path(root), [f"{root}/{name}" for name in names]) == tuple(names)


@pytest.mark.parametrize(
    ("size", "shown"), [((400, 800), (160, 320)), ((640, 480), (320, 240)), ((50, 60), (50, 60))]
)
def test_pictures_and_masks_are_small_and_of_one_size(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[: size[0] // 2] = (0, 0, 255)  # OpenCV's red
    cv2.imwrite(str(tmp_path / "a.png"), image)
    data = np.frombuffer(sample_picture(tmp_path / "a.png"), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture.shape == (*shown, 3)
    assert np.abs(picture[5, 5].astype(int) - (0, 0, 255)).max() < 10
    assert data[:2].tobytes() == b"\xff\xd8"
    mask = np.where(np.arange(size[0])[:, None] < size[0] // 2, 7, 255) * np.ones(size, int)
    small = small_mask(mask.astype(np.uint8))
    assert small.shape == shown
    assert set(np.unique(small)) == {7, 255}
    assert small[0, 0] == 7
