"""A rendered world is what was rendered, byte for byte, or it is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import seal
from benchmarks.errors import DataError
from benchmarks.seal import check_seal


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    shutil.copytree(world, tmp_path / "world")
    check_seal(tmp_path / "world")
    return tmp_path / "world"


def flip(path: Path, at: int) -> None:
    """One bit of one byte; size and time stay."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def every_file(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.reliability(4, "One flipped byte in a rendered world is refused, naming the file")
def test_a_flipped_byte_is_refused(
    world: Path, copy: Path, measured: Callable[[str], None]
) -> None:
    rng = random.Random(0)
    files = [path for path in every_file(copy) if path.name not in (seal.SEAL, seal.CONTENT)]
    for path in rng.sample(files, 20):
        flip(path, rng.randrange(path.stat().st_size))
        with pytest.raises(DataError, match=path.name):
            check_seal(copy, full=True)
        os.utime(path)
        with pytest.raises(DataError, match=path.name):
            check_seal(copy)
        shutil.copy2(world / path.relative_to(copy), path)
    check_seal(copy, full=True)
    measured("20 of 20 flipped bytes refused by name")


@pytest.mark.parametrize("name", [seal.SEAL, seal.CONTENT])
def test_the_seal_itself_is_not_changed_unnoticed(copy: Path, name: str) -> None:
    """Any byte of what is compared; the specification in it is for people."""
    file = copy / name
    text = file.read_text()
    words = ["tree_sha256", "content_sha256"] if name == seal.SEAL else [".JPEG", ".xml", ".png"]
    for word in words:
        start = text.index(word) + len(word) + 6
        flip(file, start)
        with pytest.raises(DataError, match="has been changed"):
            check_seal(copy, full=True)
        flip(file, start)
    check_seal(copy, full=True)


@pytest.mark.parametrize("how", ["added", "removed", "shorter", "content", "seal"])
def test_files_that_come_and_go_are_refused(copy: Path, how: str) -> None:
    image = next((copy / "imagenet/train").rglob("*.JPEG"))
    if how == "added":
        (image.parent / "more.JPEG").write_bytes(b"more")
    elif how == "shorter":
        image.write_bytes(image.read_bytes()[:-1])
    else:
        {"removed": image, "content": copy / seal.CONTENT, "seal": copy / seal.SEAL}[how].unlink()
    with pytest.raises(DataError, match="has been changed"):
        check_seal(copy, full=how == "content")


def test_files_are_read_only_when_a_time_has_changed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    original = seal.sha256_file

    def counted(path: Path) -> str:
        hashed.append(path)
        return original(path)

    monkeypatch.setattr(seal, "sha256_file", counted)
    check_seal(copy)
    assert hashed == []
    os.utime(next((copy / "imagenet").rglob("*.JPEG")))
    check_seal(copy)
    assert len(hashed) > 50
    hashed.clear()
    check_seal(copy)
    assert hashed == []


def test_a_world_sealed_by_sizes_alone_gets_its_content_sealed(copy: Path) -> None:
    sealed = json.loads((copy / seal.SEAL).read_text())
    before = (copy / seal.CONTENT).read_text()
    del sealed["content_sha256"]
    (copy / seal.SEAL).write_text(json.dumps(sealed))
    (copy / seal.CONTENT).unlink()
    check_seal(copy)
    assert (copy / seal.CONTENT).read_text() == before
    flip(next((copy / "imagenet").rglob("*.JPEG")), 100)
    with pytest.raises(DataError, match="other bytes in"):
        check_seal(copy, full=True)
