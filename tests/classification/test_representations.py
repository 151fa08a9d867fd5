"""What a network is shown instead of red, green and blue: the same in training and evaluation."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from backbones.representation import COLOR_SPACES, Representation
from classification.augmentation import Augmentation
from classification.data import Normalizer, TrainingImages, ValidationImages
from classification.recipe import Recipe
from classification.tricks import (
    AlphaChannel,
    BenGraham,
    CenterCrop,
    ColorSpace,
    CutMix,
    Distillation,
    Grey,
    Invert,
    PerImageNormalization,
    RandAugment,
    Rotation,
)
from classification.tricks.trick import Trick
from engine.randomness import SampleKey

REPRESENTATIONS: tuple[Trick, ...] = (
    Grey(3),
    Grey(1),
    *(ColorSpace(space) for space in COLOR_SPACES),
    PerImageNormalization(),
    BenGraham(),
    AlphaChannel(),
)
RGB = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def shown(trick: Trick, image: np.ndarray = RGB) -> np.ndarray:
    assert trick.representation is not None
    return trick.representation(image)


def _linear(value: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 to light (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = _TO_XYZ.sum(axis=1)


def _xyz(rgb: np.ndarray) -> np.ndarray:
    return 255 * rgb @ _TO_XYZ.T  # OpenCV's takes the values for light as they are


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976, D65, as 8 bits: L * 255 / 100, a + 128, b + 128."""
    x, y, z = np.moveaxis(_linear(rgb) @ _TO_XYZ.T / _WHITE, -1, 0)
    fx, fy, fz = (np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
                  for t in (x, y, z))  # fmt: skip
    return np.stack([(116 * fy - 16) * 2.55, 500 * (fx - fy) + 128, 200 * (fy - fz) + 128], -1)


def _luv(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976, D65, as 8 bits: L from 0..100, u from -134..220 and v from -140..122 to 0..255."""
    x, y, z = np.moveaxis(_linear(rgb) @ _TO_XYZ.T, -1, 0)
    light = np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, (29 / 3) ** 3 * y)
    total = np.maximum(x + 15 * y + 3 * z, 1e-12)
    xn, yn, zn = _WHITE
    un, vn = 4 * xn / (xn + 15 * yn + 3 * zn), 9 * yn / (xn + 15 * yn + 3 * zn)
    u, v = 13 * light * (4 * x / total - un), 13 * light * (9 * y / total - vn)
    return np.stack([light * 2.55, (u + 134) * 255 / 354, (v + 140) * 255 / 262], -1)


def _luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114])


def _ycrcb(rgb: np.ndarray) -> np.ndarray:
    y = _luma(rgb)
    return 255 * np.stack([y, (rgb[..., 0] - y) * 0.713, (rgb[..., 2] - y) * 0.564], -1) + [
        0, 128, 128]  # fmt: skip


def _yuv(rgb: np.ndarray) -> np.ndarray:
    y = _luma(rgb)
    return 255 * np.stack([y, (rgb[..., 2] - y) * 0.492, (rgb[..., 0] - y) * 0.877], -1) + [
        0, 128, 128]  # fmt: skip


def _by_colorsys(convert: object) -> object:
    def converted(rgb: np.ndarray) -> np.ndarray:
        flat = [convert(*pixel) for pixel in rgb.reshape(-1, 3)]  # type: ignore[operator]
        return np.array(flat).reshape(rgb.shape) * [256, 255, 255]

    return converted


CLOSED_FORMS = {
    "hsv": _by_colorsys(colorsys.rgb_to_hsv),
    "hls": _by_colorsys(colorsys.rgb_to_hls),
    "luv": _luv,
    "xyz": _xyz,
    "ycrcb": _ycrcb,
    "lab": _lab,
    "yuv": _yuv,
}


@pytest.mark.parametrize("space", COLOR_SPACES)
def test_a_color_space_is_its_closed_form_within_rounding(space: str) -> None:
    expected = np.clip(CLOSED_FORMS[space](RGB / 255), 0, 256)  # type: ignore[operator]
    difference = np.abs(shown(ColorSpace(space)).astype(float) - expected)  # type: ignore[arg-type]
    if space in ("hsv", "hls"):  # hue is a circle
        difference[..., 0] = np.minimum(difference[..., 0], 256 - difference[..., 0])
    assert difference.max() <= 2
    assert difference.mean() < 0.6


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_is_the_luma_that_pillow_has(channels: int) -> None:
    expected = np.asarray(Image.fromarray(RGB).convert("L")).astype(int)
    found = shown(Grey(channels))  # type: ignore[arg-type]
    assert found.shape == (16, 16, channels)
    assert np.abs(found - expected[..., None]).max() <= 1


def test_ben_graham_is_his_formula() -> None:
    from scipy.ndimage import gaussian_filter

    sigma = 0.1 * 16
    smooth = RGB.astype(float)
    blurred = np.stack(
        # OpenCV's border, and as far out as its kernel reaches.
        [gaussian_filter(smooth[..., c], sigma, mode="mirror", truncate=3.0) for c in range(3)],
        -1,
    )
    expected = np.clip(4 * smooth - 4 * blurred + 128, 0, 255)
    # The blur is rounded to a whole value before it counts four times.
    assert np.abs(shown(BenGraham(sigma=0.1)) - expected).max() <= 6
    flat = np.full((32, 32, 3), 77, np.uint8)
    assert (shown(BenGraham(), flat) == 128).all()


def test_each_image_is_normalized_by_itself() -> None:
    normalizer = Normalizer(
        IMAGENET_PAPER.represented(PerImageNormalization().representation), channels_last=True
    )
    views = np.stack([RGB, RGB // 4 + 100, np.full_like(RGB, 9)])
    batch = {"images": torch.from_numpy(views).permute(0, 3, 1, 2), "labels": torch.zeros(3)}
    found = normalizer(batch)["images"].permute(0, 2, 3, 1).numpy()
    for view, image in zip(views[:2].astype(float), found[:2], strict=True):
        expected = (view - view.mean((0, 1))) / view.std((0, 1))
        np.testing.assert_allclose(image, expected, atol=1e-5)
    assert not found[2].any(), "an image of one color becomes zero"


def _files(folder: Path) -> list[tuple[Path, int]]:
    """A photograph without and one with alpha, square, of the size of the views."""
    Image.fromarray(RGB).save(folder / "plain.png")
    cut = Image.fromarray(RGB)
    cut.putalpha(Image.fromarray(RGB[..., 2]))
    cut.save(folder / "cut.png")
    return [(folder / "plain.png", 0), (folder / "cut.png", 1)]


@pytest.mark.parametrize("trick", REPRESENTATIONS, ids=str)
def test_training_and_evaluation_show_the_same(trick: Trick, tmp_path: Path) -> None:
    quiet = Augmentation(flip_probability=0, color=0, lighting_std=0)
    recipe = Recipe(augmentation=quiet) | trick | CenterCrop(fraction=1.0)
    samples, representation = _files(tmp_path), recipe.representation
    training = TrainingImages(
        samples, size=16, recipe=recipe, seed=0, num_classes=2, representation=representation
    )
    evaluated = ValidationImages(samples, size=16, resize_size=16, representation=representation)
    normalizer = Normalizer(IMAGENET_PAPER.represented(representation), channels_last=True)
    batches = [
        training.__getitems__([SampleKey(0, 0), SampleKey(0, 1)]),
        evaluated.__getitems__([0, 1]),
    ]
    seen, again = (normalizer(batch)["images"] for batch in batches)
    assert representation is not None
    assert seen.shape == (2, representation.channels, 16, 16)
    assert torch.equal(seen, again)
    assert torch.isfinite(seen).all()


def test_noise_falls_on_the_colors_before_they_are_represented(tmp_path: Path) -> None:
    """An inverted RGB image in grey is not what one inverts after: it is the luma of it."""
    quiet = Augmentation(flip_probability=0, color=0, lighting_std=0)
    recipe = Recipe(augmentation=quiet) | Invert(1.0) | CenterCrop(1.0) | ColorSpace("ycrcb")
    data = TrainingImages(
        _files(tmp_path)[:1], size=16, recipe=recipe, seed=0, num_classes=2,
        representation=recipe.representation,
    )  # fmt: skip
    found = data[SampleKey(0, 0)]["images"].permute(1, 2, 0).numpy()
    assert np.abs(found - _ycrcb((255 - RGB) / 255)).max() <= 2


def test_alpha_is_seen_turns_with_the_image_and_keeps_its_value_under_noise(
    tmp_path: Path,
) -> None:
    quiet = Augmentation(flip_probability=0, color=0.4, lighting_std=0.1)
    recipe = Recipe(augmentation=quiet) | AlphaChannel() | CenterCrop(1.0) | Invert(1.0)
    for turned in (recipe, recipe | Rotation(degrees=180, probability=1.0)):
        data = TrainingImages(
            _files(tmp_path), size=16, recipe=turned, seed=0, num_classes=2,
            representation=turned.representation,
        )  # fmt: skip
        plain, cut = (data[SampleKey(0, i)]["images"].permute(1, 2, 0).numpy() for i in range(2))
        assert plain.shape == cut.shape == (16, 16, 4)
        if turned is recipe:
            assert np.array_equal(cut[..., 3], RGB[..., 2])
            assert (plain[..., 3] == 255).all()
        else:
            corners = [plain[y, x, 3] for y in (0, -1) for x in (0, -1)]
            assert min(corners) < 128, "what comes from outside is transparent"
            assert plain[8, 8, 3] == 255


def test_what_makes_no_sense_together_is_refused() -> None:
    with pytest.raises(ValueError, match="one representation"):
        Recipe() | Grey() | ColorSpace()
    with pytest.raises(ValueError, match="alpha_channel conflicts with rand_augment"):
        Recipe() | RandAugment() | AlphaChannel()
    with pytest.raises(ValueError, match="grey conflicts with distillation"):
        Recipe() | Distillation("resnet50d_smooth") | Grey()
    assert (Recipe() | Grey() | CutMix()).representation == Representation(kind="grey")


@pytest.mark.parametrize("trick", REPRESENTATIONS, ids=str)
def test_it_goes_with_the_preprocessing(trick: Trick) -> None:
    found = IMAGENET_PAPER.represented(trick.representation)
    assert Preprocessing.from_dict(found.to_dict()) == found
    assert len(found.mean) == found.channels
    with pytest.raises(ValueError, match="a detector takes plain RGB images"):
        found.check_rgb("a detector")
    assert found.represented(None) is found
    other = Grey(1) if trick != Grey(1) else BenGraham()
    with pytest.raises(ValueError, match="used to images represented as"):
        found.represented(other.representation)


def test_an_opaque_image_and_the_mean_color_become_zero() -> None:
    preprocessing = IMAGENET_PAPER.represented(AlphaChannel().representation)
    normalizer = Normalizer(preprocessing, channels_last=False)
    pixel = torch.tensor([124, 117, 104, 255], dtype=torch.uint8).view(1, 4, 1, 1)
    found = normalizer({"images": pixel, "labels": torch.zeros(1)})["images"]
    assert found.abs().max() < 0.01
    grey = IMAGENET_PAPER.represented(Grey(1).representation)
    assert grey.mean == pytest.approx((0.299 * 123.68 + 0.587 * 116.779 + 0.114 * 103.939,))


def test_without_one_nothing_is_said() -> None:
    """Cards and records of before do not change."""
    assert set(IMAGENET_PAPER.to_dict()) == {"mean", "std", "channel_order", "interpolation"}
    assert Recipe().representation is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grey(2),
        lambda: ColorSpace("cmyk"),
        lambda: BenGraham(0),
        lambda: BenGraham(0.6),
        lambda: Representation(kind="sepia"),
        lambda: Representation(kind="alpha"),
        lambda: Representation(kind="grey", sigma=0.1),
        lambda: Representation.from_dict({"kind": "grey", "colour": 1}),
        lambda: Preprocessing(mean=(1, 2, 3), std=(1, 1, 1),
                              representation=Representation(kind="alpha", channels=4)),
        lambda: Preprocessing(mean=(1, 2, 3), std=(1, 1, 1), channel_order="BGR").represented(
            Representation(kind="alpha", channels=4)),
    ],
)  # fmt: skip
def test_what_is_not_possible_is_refused(make: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - sentences of their own
        make()  # type: ignore[operator]
