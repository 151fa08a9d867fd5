"""What the segmentor learns from is what was checked: our masks, in MMSegmentation's terms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import DataError
from benchmarks.schema import Benchmark, load_benchmark
from engine.finetuning import prepare_openmmlab
from tests.other_layouts import as_coco_and_cityscapes


@pytest.fixture(scope="module")
def data() -> Any:
    """The module segmentation.data."""
    prepare_openmmlab()
    from segmentation import data

    return data


@pytest.fixture
def squares(make_benchmark: Callable[..., Path], tmp_path: Path) -> Benchmark:
    return load_benchmark(make_benchmark(tmp_path))


def samples(data: Any, benchmark: Benchmark) -> list[Any]:
    found = data.test_data(benchmark.segmentation, interpolation="bilinear").dataset
    return [found[index] for index in range(len(found))]


def truth(sample: Any) -> np.ndarray:
    return sample["data_samples"].gt_sem_seg.data[0].numpy()


def test_images_and_masks_are_mmsegmentations(
    data: Any, squares: Benchmark, tmp_path: Path
) -> None:
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    root = tmp_path / "ADEChallengeData2016"
    mask = root / "annotations/validation/0.png"
    with Image.open(mask) as image:
        indices = np.asarray(image).copy()
    indices[:5, :5] = 255  # counts as other, too
    Image.fromarray(indices).save(mask)
    for number, sample in enumerate(samples(data, squares)):
        results = dict(
            img_path=str(root / f"images/validation/{number}.jpg"),
            seg_map_path=str(root / f"annotations/validation/{number}.png"),
            reduce_zero_label=True,
            seg_fields=[],
        )
        expected = LoadAnnotations(reduce_zero_label=True)(LoadImageFromFile()(results))
        assert np.array_equal(sample["inputs"].numpy(), expected["img"].transpose(2, 0, 1))
        assert np.array_equal(truth(sample), expected["gt_seg_map"])
    assert set(np.unique(truth(samples(data, squares)[0]))) <= {0, 1, 2, 255}


def test_masks_of_cityscapes_are_mmsegmentations(
    data: Any, make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    """From the label ids what upstream has from the train ids that a script makes of them."""
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    benchmark = load_benchmark(as_coco_and_cityscapes(make_benchmark(tmp_path)))
    found = samples(data, benchmark)
    images = sorted((tmp_path / "cityscapes/leftImg8bit/val/lindau").iterdir())
    assert len(found) == len(images) == 4
    for image, sample in zip(images, found, strict=True):
        name = image.name.replace("leftImg8bit", "gtFine_labelTrainIds")
        results = dict(
            img_path=str(image),
            seg_map_path=str(tmp_path / "cityscapes/gtFine/val/lindau" / name),
            reduce_zero_label=False,
            seg_fields=[],
        )
        expected = LoadAnnotations()(LoadImageFromFile()(results))
        assert np.array_equal(sample["inputs"].numpy(), expected["img"].transpose(2, 0, 1))
        assert np.array_equal(truth(sample), expected["gt_seg_map"])


@pytest.mark.reliability(6, "A rotated photograph and its mask lie on each other in training")
def test_masks_and_pixels_agree_on_a_rotated_photograph(
    data: Any, squares: Benchmark, tmp_path: Path
) -> None:
    file = tmp_path / "ADEChallengeData2016/images/validation/0.jpg"
    before = samples(data, squares)[0]
    with Image.open(file) as image:
        pixels = np.asarray(image)
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
    Image.fromarray(stored).save(file, format="PNG", exif=exif)
    after = samples(data, squares)[0]
    assert np.array_equal(after["inputs"].numpy(), pixels[:, :, ::-1].transpose(2, 0, 1))
    assert np.array_equal(truth(after), truth(before))


@pytest.mark.parametrize(
    ("height", "index", "message"),
    [(39, 1, "has 48x39 pixels, its image 48x40"), (40, 4, "holds index 4, .* 3 classes")],
)
def test_a_mask_that_went_bad_is_named(
    data: Any, squares: Benchmark, tmp_path: Path, height: int, index: int, message: str
) -> None:
    mask = tmp_path / "ADEChallengeData2016/annotations/validation/0.png"
    Image.fromarray(np.full((height, 48), index, np.uint8)).save(mask)
    with pytest.raises(DataError, match=f"^{mask} {message}"):
        samples(data, squares)


def test_what_is_left_out_is_not_read(data: Any, squares: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "ADEChallengeData2016/annotations/validation/2.png").unlink()
    assert squares.segmentation is not None
    budget = squares.segmentation.leaving_out(["images/validation/2.jpg"])
    assert len(samples(data, squares.model_copy(update={"segmentation": budget}))) == 3
