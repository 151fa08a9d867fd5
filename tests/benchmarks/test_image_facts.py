"""Size, light and hash of image files against numpy, Pillow and scipy; copies against originals."""

from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from benchmarks import near_duplicates as module
from benchmarks.image_facts import FACTS, image_facts, perceptual_hash
from benchmarks.near_duplicates import MOST_BITS, near_duplicates


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """(H, W, 3) uint8: blobs, about as a photograph has them."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    blobs = gaussian_filter(noise, 12)
    grey = 110 + 90 * blobs / np.abs(blobs).max()
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_the_facts_of_files_by_hand(tmp_path: Path) -> None:
    grey = np.zeros((80, 100), np.uint8)
    grey[:, 50:] = 200  # mean 100, deviation 100
    Image.fromarray(grey).save(tmp_path / "half.png")
    turned = Image.fromarray(grey).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8 no image")
    Image.fromarray(grey).resize((1600, 1280), Image.Resampling.NEAREST).save(tmp_path / "l.png")
    facts = image_facts([tmp_path / n for n in ("half.png", "turned.jpg", "damaged.jpg", "l.png")])
    assert tuple(facts) == FACTS
    assert facts["width"].tolist() == [100, 80, 0, 1600]
    assert facts["height"].tolist() == [80, 100, 0, 1280]
    known = [0, 1, 3]
    assert facts["brightness"][known] == pytest.approx(100 * 100 / 255, abs=0.5)
    assert facts["contrast"][known] == pytest.approx(100 * 100 / 255, abs=0.5)
    content = hashlib.sha256((tmp_path / "half.png").read_bytes()).digest()[:8]
    assert int(facts["content"][0]) == int.from_bytes(content, "big")
    assert facts["hash"][0] == facts["hash"][3] != facts["hash"][1]
    assert all(not len(values) for values in image_facts([]).values())


def test_a_picture_has_one_contrast_in_whatever_size_it_comes(tmp_path: Path) -> None:
    """The standard deviation of the means of equal blocks, 64 of them along the shorter side."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 192)).astype(np.uint8)
    expected = 100 / 255 * noise.astype(float).reshape(64, 2, 96, 2).mean(axis=(1, 3)).std()
    paths = []
    for times in (1, 2, 3):
        large = noise.repeat(times, axis=0).repeat(times, axis=1)
        paths.append(tmp_path / f"{times}.png")
        Image.fromarray(large).save(paths[-1])
    assert image_facts(paths)["contrast"] == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_is_that_of_a_cosine_transform(seed: int) -> None:
    """scipy's orthonormal DCT-II of the means of equal blocks."""
    grey = picture(seed, 128, 160)[..., 0]
    small = grey.astype(float).reshape(32, 4, 32, 5).mean(axis=(1, 3)).round()
    lowest = dctn(small, norm="ortho")[:8, :8]
    bits = (lowest > np.median(lowest)).ravel()
    expected = int("".join("01"[int(bit)] for bit in bits), 2)
    assert (perceptual_hash(grey) ^ expected).bit_count() <= 2  # by rounding


def copies(image: np.ndarray) -> dict[str, np.ndarray]:
    """Changed as pictures are on their way from one folder to another; (H, W, 3) BGR."""
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return {
        "half": half,
        "larger": cv2.resize(image, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_LINEAR),
        "brighter": cv2.convertScaleAbs(image, alpha=1.0, beta=12),
        "recompressed": image,
    }


def test_copies_are_found_and_others_are_not(tmp_path: Path) -> None:
    paths, expected = [], set()
    for seed in range(8):
        original = picture(seed)
        versions = {"original": original, **copies(original)}
        start = len(paths)
        for name, version in versions.items():
            path = tmp_path / f"{seed}_{name}.jpg"
            cv2.imwrite(
                str(path), version, [cv2.IMWRITE_JPEG_QUALITY, 50 if name == "recompressed" else 92]
            )
            paths.append(path)
        expected |= set(combinations(range(start, len(paths)), 2))
    found = near_duplicates(image_facts(paths))
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert (found.distance >= 0).all()


def test_the_same_bytes_are_a_pair_even_where_nothing_is_shown(tmp_path: Path) -> None:
    """Flat pictures cannot be told apart by what they show; damaged ones by nothing."""
    for name, level in (("a", 90), ("b", 90), ("c", 160)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((70, 70, 3), level, np.uint8))
        (tmp_path / f"broken_{name}.png").write_bytes(b"no image")
    found = near_duplicates(image_facts(sorted(tmp_path.iterdir())))
    pairs = zip(found.first, found.second, found.distance, strict=True)
    assert [tuple(map(int, pair)) for pair in pairs] == [(0, 1, -1)]


@settings(max_examples=30, deadline=None)
@given(
    hashes=st.lists(st.integers(0, 2**64 - 1), max_size=9),
    flips=st.lists(st.tuples(st.integers(0, 8), st.sets(st.integers(0, 63), max_size=9))),
    block=st.sampled_from([1, 3, 7, 1000]),
)
def test_all_pairs_are_compared(
    hashes: list[int], flips: list[tuple[int, set[int]]], block: int
) -> None:
    """In blocks of any size; against two loops over whole numbers."""
    for at, bits in flips[:9]:
        if at < len(hashes):
            hashes.append(hashes[at] ^ sum(1 << bit for bit in bits))
    n = len(hashes)
    facts = {
        "width": np.ones(n, np.int32),
        "contrast": np.full(n, 20, np.float32),
        "hash": np.array(hashes, np.uint64),
        "content": np.arange(n, dtype=np.uint64),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LARGEST_BLOCK", block)
        found = near_duplicates(facts)
    expected = sorted(
        (distance, a, b)
        for a, b in combinations(range(n), 2)
        if (distance := (hashes[a] ^ hashes[b]).bit_count()) <= MOST_BITS
    )
    got = zip(found.distance.tolist(), found.first.tolist(), found.second.tolist(), strict=True)
    assert list(got) == expected


@pytest.mark.real_data
@pytest.mark.slow
def test_no_two_photographs_of_imagenette_are_a_pair_and_their_copies_are(
    real_data: Path, tmp_path: Path
) -> None:
    originals = sorted((real_data / "imagenette").glob("*/*/*.JPEG"))
    assert not len(near_duplicates(image_facts(originals)).first)

    chosen, paths = originals[::20], []
    for number, path in enumerate(chosen):
        for name, version in copies(cv2.imread(str(path))).items():
            paths.append(tmp_path / f"{number}_{name}.jpg")
            quality = 30 if name == "recompressed" else 85
            cv2.imwrite(str(paths[-1]), version, [cv2.IMWRITE_JPEG_QUALITY, quality])
    found = near_duplicates(image_facts([*chosen, *paths]))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    expected = {(at // 4, at + len(chosen)) for at in range(len(paths))}
    print(f"found {len(expected & pairs)} of {len(expected)} copies")
    assert len(expected & pairs) > 0.98 * len(expected)
