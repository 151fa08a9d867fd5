"""Training on shrunk copies: the same images in the same order, made once, whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import DataError
from benchmarks.file_index import ImageSamples
from benchmarks.imagenet_layout import read_index
from benchmarks.schema import PretrainingBudget
from benchmarks.shrunk_images import training_images

SIZES = {  # (width, height) of the original -> of what is trained on, at 40 pixels
    "wide.jpg": ((100, 80), (50, 40)),
    "tall.JPEG": ((60, 121), (40, 81)),
    "chart.png": ((90, 90), (40, 40)),
    "exact.jpg": ((70, 40), (70, 40)),
    "small.jpg": ((30, 200), (30, 200)),
}
LOAD = (
    "import sys; from pathlib import Path; from benchmarks.schema import PretrainingBudget; "
    "from benchmarks.shrunk_images import training_images; "
    "budget = PretrainingBudget(root=Path(sys.argv[1]), image_size=32, resize_size=36, "
    "shrink_to=int(sys.argv[2])); "
    "print(training_images(budget, 'd').samples[0][0].parents[2])"
)


def draw(path: Path, size: tuple[int, int], seed: int) -> None:
    """A smooth picture of two waves in three colors, as photographs are mostly smooth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    waves = [np.sin(x / 9 + a) * np.cos(y / 7 + b) for a, b in phases]
    pixels = (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **({} if path.suffix == ".png" else {"quality": 95}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of many sizes; an empty cache, as in all tests here."""
    for label, name in enumerate(("ant", "bee")):
        for number, (file, (size, _)) in enumerate(SIZES.items()):
            draw(tmp_path / "data/train" / name / file, size, 10 * label + number)
        draw(tmp_path / "data/val" / name / "1.jpg", (100, 80), label)
    return tmp_path / "data"


def budget(root: Path, shrink_to: int, **more: Any) -> PretrainingBudget:
    sizes = {"image_size": 32, "resize_size": 36}
    return PretrainingBudget(root=root, shrink_to=shrink_to, **sizes, **more)


def names(samples: ImageSamples) -> list[tuple[str, str, int]]:
    return [(path.parent.name, path.name, label) for path, label in samples]


def folders(cache: Path) -> list[Path]:
    return sorted((cache / "shrunk").iterdir())


def test_without_it_the_images_themselves_are_trained_on(root: Path, cache: Path) -> None:
    found = training_images(budget(root, 0), "d")
    assert list(found.samples) == list(read_index(root, "train").samples)
    assert not (cache / "shrunk").exists()


def test_the_same_images_in_the_same_order_with_a_short_side_of_at_most_so_many_pixels(
    root: Path, cache: Path
) -> None:
    original, found = read_index(root, "train"), training_images(budget(root, 40), "d")
    assert found.classes == original.classes == ("ant", "bee")
    assert names(found.samples) == names(original.samples)
    for path, _ in found.samples:
        assert path.is_relative_to(cache)
        with Image.open(path) as image:
            assert image.size == SIZES[path.name][1]


def test_what_is_small_stays_the_same_bytes(root: Path) -> None:
    found = training_images(budget(root, 40), "d")
    originals = read_index(root, "train").samples
    same = {
        path.name
        for (path, _), (original, _) in zip(found.samples, originals, strict=True)
        if path.read_bytes() == original.read_bytes()
    }
    assert same == {"exact.jpg", "small.jpg"}


def test_a_file_system_without_links_gets_copies(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    found = training_images(budget(root, 40), "d")
    copies = {path.name: path.read_bytes() for path, _ in found.samples if "ant" in path.parts}
    assert copies["small.jpg"] == (root / "train/ant/small.jpg").read_bytes()


def test_crops_agree_with_those_of_the_resized_image(root: Path) -> None:
    """Pillow resizes and crops the original: 2 levels of 255 in the mean, 20 at most."""
    differences = []
    for path, _ in training_images(budget(root, 40), "d").samples:
        with Image.open(root / "train" / path.parent.name / path.name) as image:
            resized = image.convert("RGB").resize(SIZES[path.name][1], Image.Resampling.BILINEAR)
        box = (3, 5, 3 + 24, 5 + 24)
        crop = cv2.imread(str(path))[5 : 5 + 24, 3 : 3 + 24, ::-1].astype(float)
        differences.append(np.abs(crop - np.asarray(resized.crop(box), float)))
    assert np.mean(differences) < 2
    assert np.max(differences) < 20


def test_an_image_is_shrunk_as_it_is_shown(root: Path) -> None:
    file = root / "train/ant/turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    left_white = np.zeros((80, 100, 3), np.uint8)
    left_white[:, :50] = 255
    Image.fromarray(left_white).save(file, exif=exif, quality=95)
    copies = {p.name: p for p, _ in training_images(budget(root, 40), "d").samples}
    with Image.open(copies["turned.jpg"]) as image:
        assert image.size == (40, 50)
        assert image.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(image)
    assert pixels[:20].mean() > 240, "what was left is above"
    assert pixels[30:].mean() < 15


def test_what_is_left_out_is_left_out(root: Path) -> None:
    (root / "train/bee/wide.jpg").write_bytes(b"")
    some = budget(root, 40).leaving_out(["train/bee/wide.jpg"])
    found = training_images(some, "d")
    assert len(found.samples) == 9
    assert ("bee", "wide.jpg", 1) not in names(found.samples)
    assert ("bee", "tall.JPEG", 1) in names(found.samples)


def test_copies_are_made_once_and_say_so(
    root: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training_images(budget(root, 40), "d")
    assert "shrinking the training images to 40 pixels: 10/10 images" in capfd.readouterr().err
    (folder,) = folders(cache)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    training_images(budget(root, 40), "d")
    assert capfd.readouterr().err == ""
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize("change", ["size", "data", "bytes"])
def test_another_size_or_other_data_gets_copies_of_its_own(
    root: Path, cache: Path, change: str
) -> None:
    training_images(budget(root, 40), "d")
    if change == "bytes":  # of the same name and the same size, as no digest notices
        file = root / "train/ant/small.jpg"
        data = file.read_bytes()
        time.sleep(0.02)
        file.unlink()
        file.write_bytes(data)
    found = training_images(
        budget(root, 41 if change == "size" else 40), "e" if change == "data" else "d"
    )
    assert len(folders(cache)) == 2
    assert len(found.samples) == 10


def test_copies_that_somebody_removed_are_missed(root: Path, cache: Path) -> None:
    training_images(budget(root, 40), "d")
    (folder,) = folders(cache)
    (folder / "train/ant/wide.jpg").unlink()
    message = rf"{folder} have been changed \(10 were written, 9 are there\); delete that folder"
    with pytest.raises(DataError, match=message):
        training_images(budget(root, 40), "d")


@pytest.mark.parametrize("how", ["bytes", "time", "seal"])
def test_copies_that_somebody_wrote_anew_are_refused(root: Path, cache: Path, how: str) -> None:
    training_images(budget(root, 40), "d")
    (folder,) = folders(cache)
    file = folder / "train/ant/wide.jpg"
    found = file.stat()
    if how == "bytes":  # one more, with the time that it had
        file.write_bytes(file.read_bytes() + b"x")
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif how == "time":
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    else:
        (folder / "copies.json").write_text("[]")
    message = rf"{folder} have been changed \(names, sizes and times .*\); delete that folder"
    with pytest.raises(DataError, match=message):
        training_images(budget(root, 40), "d")


def test_copies_of_what_the_images_were_before_are_named(
    root: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training_images(budget(root, 40), "d")
    (before,) = folders(cache)
    training_images(budget(root, 41), "d")
    assert str(before) not in capfd.readouterr().err, "another size is another benchmark's"
    training_images(budget(root, 40), "e")
    assert f"{before} holds copies of what {root} was before" in capfd.readouterr().err
    training_images(budget(root, 40), "e")
    assert str(before) not in capfd.readouterr().err


def test_an_image_that_cannot_be_decoded_is_named_and_leaves_no_whole_folder(
    root: Path, cache: Path
) -> None:
    file = root / "train/bee/chart.png"
    data = file.read_bytes()
    file.write_bytes(data[:50] + bytes(len(data) - 100) + data[-50:])  # header and end are there
    with pytest.raises(DataError, match=r"bee/chart\.png (cannot be decoded|is)"):
        training_images(budget(root, 40), "d")
    assert [folder.suffix for folder in folders(cache)] == [".partial"]


def test_what_a_killed_call_left_is_gone_on_with(root: Path, cache: Path) -> None:
    training_images(budget(root, 40), "d")
    (folder,) = folders(cache)
    files = sorted(file for file in folder.glob("train/*/*"))
    expected = [file.read_bytes() for file in files]
    unfinished = folder.rename(folder.with_name(f"{folder.name}.partial"))
    lost, cut, kept = (unfinished / "train/ant" / n for n in ("chart.png", "tall.JPEG", "wide.jpg"))
    lost.rename(lost.with_name(".chart.png.4711"))  # killed while it was written
    cut.write_bytes(cut.read_bytes()[:50])  # or the power failed
    written = kept.stat().st_mtime_ns
    found = training_images(budget(root, 40), "d")
    assert [file.read_bytes() for file in files] == expected
    assert len(found.samples) == 10
    assert (folder / "train/ant/wide.jpg").stat().st_mtime_ns == written


def test_a_full_disk_is_one_line(root: Path, cache: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(root / "train/ant/noise.png")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(root), "299"],
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    last = done.stderr.splitlines()[-1]
    assert "shrunk to 299 pixels cannot be written to" in last
    assert "File too large" in last
    assert "TRICKLE_CACHE" in last


def test_two_processes_make_them_once(root: Path, cache: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(root), "40"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert sorted("shrinking" in errors for _, errors in outputs) == [False, True]


@pytest.mark.slow
def test_killed_at_any_time_it_ends_in_the_same_bytes(tmp_path: Path, cache: Path) -> None:
    """By several processes, killed hard with what they have not finished."""
    data = tmp_path / "many"
    draw(data / "picture.jpg", (400, 320), 0)
    for number in range(400):
        target = data / "train" / ("ant", "bee")[number % 2] / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((data / "picture.jpg").read_bytes())
    for share in (40, 160, 280):
        run = subprocess.Popen([sys.executable, "-c", LOAD, str(data), "40"])
        while run.poll() is None and len(list(cache.rglob("*.partial/train/*/*.jpg"))) < share:
            time.sleep(0.01)
        assert run.poll() is None, "it is killed halfway"
        run.kill()
        run.wait()
    found = training_images(budget(data, 40), "d")
    assert len(found.samples) == 400
    copies = {path.read_bytes() for path, _ in found.samples}
    assert len(copies) == 1
    with Image.open(found.samples[0][0]) as image:
        image.load()
        assert image.size == (50, 40)
