"""One policy for color, depth and rotation: what is read is what Pillow shows, or it is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.errors import DataError
from benchmarks.image_files import check_image
from benchmarks.pixels import EncodedImage, read_bgr, read_indices, read_rgb

ORIENTATION = 0x0112


def photograph(height: int = 37, width: int = 53) -> np.ndarray:
    """Smooth, so that JPEG's rounding stays small."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def shown(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def save(file: Path, image: Image.Image, orientation: int | None = None, **options: object) -> Path:
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    image.save(file, **options)  # type: ignore[arg-type]
    return file


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_ordinary_file_has_opencvs_own_pixels(tmp_path: Path, suffix: str) -> None:
    file = save(tmp_path / f"image{suffix}", Image.fromarray(photograph()))
    by_opencv = cv2.imread(str(file))
    assert np.array_equal(read_bgr(file), by_opencv)
    assert np.array_equal(read_rgb(file), by_opencv[:, :, ::-1])


@pytest.mark.reliability(6, "Every reader turns an image as its EXIF orientation asks for")
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    file = save(tmp_path / f"image{suffix}", Image.fromarray(photograph()), orientation)
    assert np.array_equal(read_rgb(file), shown(file))
    assert check_image(file).shown == shown(file).shape[1::-1]


@pytest.mark.reliability(
    6, "Grey, palette, alpha, CMYK, 1 and 16 bits become the 8-bit RGB that Pillow shows"
)
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", ".jpg"), ("L", ".png"), ("1", ".png"), ("P", ".png"), ("CMYK", ".jpg")],
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(photograph()).convert(mode)
    file = save(tmp_path / f"image{suffix}", image)
    found = read_rgb(file)
    assert found.dtype == np.uint8
    # OpenCV and Pillow round CMYK differently.
    assert np.abs(found.astype(int) - shown(file)).max() <= (mode == "CMYK")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_dropped(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(photograph()).convert("P" if mode == "P" else mode)
    expected = np.asarray(image.convert("RGB"))
    if mode == "P":
        file = save(tmp_path / "image.png", image, transparency=0)
    else:
        image.putalpha(Image.fromarray(photograph()[:, :, 0]))
        file = save(tmp_path / "image.png", image)
    assert np.array_equal(read_rgb(file), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "1"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_alpha_is_read_where_it_is_asked_for(tmp_path: Path, mode: str, orientation: int) -> None:
    image = Image.fromarray(photograph())
    if mode in ("RGBA", "LA"):
        image = image.convert(mode[:-1])
        image.putalpha(Image.fromarray(photograph()[:, :, 0]))
        file = save(tmp_path / "image.png", image, orientation)
    else:
        image = image.convert(mode)
        clear = bytes(range(256)) if mode == "P" else image.getpixel((3, 4))
        file = save(tmp_path / "image.png", image, orientation, transparency=clear)
    with Image.open(file) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGBA"))[..., 3]
    assert expected.min() < 255
    found = EncodedImage.read(file).with_alpha()
    assert np.array_equal(found[..., 3], expected)
    assert np.array_equal(found[..., :3], read_rgb(file))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_without_alpha_is_opaque(tmp_path: Path, suffix: str) -> None:
    file = save(tmp_path / f"image{suffix}", Image.fromarray(photograph()))
    found = EncodedImage.read(file).with_alpha()
    assert (found[..., 3] == 255).all()
    assert np.array_equal(found[..., :3], read_rgb(file))


@pytest.mark.reliability(6, "An image whose whole picture is in its alpha channel is refused")
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_picture_in_alpha_alone_is_not_dropped(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode[:-1], (53, 37))
    image.putalpha(Image.fromarray(photograph()[:, :, 0]))
    file = save(tmp_path / "glyph.png", image)
    for read in (read_rgb, read_bgr):
        with pytest.raises(DataError, match=r"^.*glyph.png has its whole picture in its alpha"):
            read(file)
    found = EncodedImage.read(file).with_alpha()
    assert np.array_equal(found[..., 3], photograph()[:, :, 0])
    image.putalpha(200)  # there is no picture anywhere
    assert not read_rgb(save(tmp_path / "flat.png", image)).any()


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 30, 3)).astype(np.uint16)
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), deep[:, :, ::-1])
    assert np.array_equal(read_rgb(file), (deep >> 8).astype(np.uint8))


def test_a_png_named_jpg_is_read(tmp_path: Path) -> None:
    file = save(tmp_path / "image.jpg", Image.fromarray(photograph()), format="PNG")
    assert np.array_equal(read_rgb(file), photograph())


@pytest.mark.parametrize("mode", ["L", "P"])
def test_an_annotation_keeps_its_indices(tmp_path: Path, mode: str) -> None:
    indices = np.random.default_rng(0).integers(0, 5, (12, 16)).astype(np.uint8)
    image = Image.fromarray(indices)
    if mode == "P":
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    assert np.array_equal(read_indices(save(tmp_path / "mask.png", image)), indices)


@pytest.mark.reliability(6, "An annotation that is no plain index PNG is refused by name")
@pytest.mark.parametrize("kind", ["RGB", "I;16", "LA", "1", "jpeg", "2 bits", "rotated"])
def test_an_annotation_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "mask.png"
    indices = Image.fromarray(np.ones((8, 8), np.uint8))
    if kind == "jpeg":
        save(file, indices, format="JPEG")
    elif kind == "2 bits":  # Pillow would scale 1 to 85
        cv2.imwrite(str(file), np.zeros((8, 8), np.uint8))
        data = bytearray(file.read_bytes())
        data[24] = 2
        file.write_bytes(data)
    elif kind == "rotated":
        save(file, indices, 6)
    elif kind == "I;16":
        cv2.imwrite(str(file), np.ones((8, 8), np.uint16))
    else:
        save(file, indices.convert(kind))
    with pytest.raises(DataError, match=f"^{file} "):
        read_indices(file)
