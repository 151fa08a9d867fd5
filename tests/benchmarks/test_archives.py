"""An archive is unpacked whole, inside its folder, within its bounds; or refused without trace."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import archives
from benchmarks.archives import extract
from benchmarks.errors import DataError

CONTENT = {"data/a.txt": b"first", "data/deep/b.bin": random.Random(0).randbytes(300_000), "c": b""}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for everything that this machine has yet to write."""
    monkeypatch.setattr(os, "sync", lambda: None)


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def entry(name: str, content: bytes = b"", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def zip_of(members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file.getvalue()


def unpack(tmp_path: Path, data: bytes, most_bytes: int = 10**7) -> tuple[int, dict[str, bytes]]:
    archive, folder = tmp_path / "archive", tmp_path / "place" / "folder"
    archive.write_bytes(data)
    count = extract(archive, folder, most_bytes=most_bytes)
    files = (path for path in folder.rglob("*") if path.is_file())
    return count, {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(tmp_path: Path, data: bytes, message: str, most_bytes: int = 10**7) -> None:
    with pytest.raises(DataError, match=message) as caught:
        unpack(tmp_path, data, most_bytes)
    assert str(tmp_path / "archive") in str(caught.value)
    left = [path for path in tmp_path.rglob("*") if path.name not in ("archive", "place")]
    assert left == []


@pytest.mark.parametrize("packing", PACK)
def test_a_tar_is_unpacked(tmp_path: Path, packing: str) -> None:
    folder = entry("data/empty", type=tarfile.DIRTYPE)
    data = tar_of([folder, *(entry(*item) for item in CONTENT.items())])
    assert unpack(tmp_path, PACK[packing](data)) == (3, CONTENT)
    assert (tmp_path / "place/folder/data/empty").is_dir()


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    assert unpack(tmp_path, zip_of(list(CONTENT.items()))) == (3, CONTENT)


def test_modes_are_not_taken_over(tmp_path: Path) -> None:
    unpack(tmp_path, tar_of([entry("a", b"x", mode=0o6777, uid=0)]))
    mode = (tmp_path / "place/folder/a").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


NAMES = ["../x", "a/../../x", "/tmp/x", "..", "a\\..\\x", "C:\\x", "C:x", "a\x1bb", "//x"]


@pytest.mark.reliability(6, "An archive's member that leads out of its folder is refused")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_out(tmp_path: Path, name: str, kind: str) -> None:
    good = [("ok", b"1"), (name, b"2")]
    data = zip_of([*good]) if kind == "zip" else tar_of([entry(*item) for item in good])
    refused(tmp_path, data, "leads out of its folder|control characters")
    assert not (tmp_path / "x").exists()


@pytest.mark.reliability(6, "An archive's links, devices and sparse files are refused")
@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
     tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE],
)  # fmt: skip
def test_what_is_no_file(tmp_path: Path, kind: bytes) -> None:
    if kind == tarfile.CONTTYPE:  # an old kind of ordinary file
        assert unpack(tmp_path, tar_of([entry("a", b"x", type=kind)]))[1] == {"a": b"x"}
        return
    data = tar_of([entry("ok", b"1"), entry("a", type=kind, linkname="/etc/passwd")])
    refused(tmp_path, data, "a link, device or sparse file")


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(tmp_path, zip_of([(info, b"/etc/passwd")]), "a link or device")


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b", "a"], ["a", "./a"]])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice(tmp_path: Path, names: list[str]) -> None:
    refused(tmp_path, tar_of([entry(name, b"1") for name in names]), "twice")
    refused(tmp_path, zip_of([(name, b"1") for name in names]), "twice")


@pytest.mark.reliability(6, "An archive that unfolds to more than it may is refused before it does")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bomb(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None]
) -> None:
    zeros = bytes(8_000_000)
    data = zip_of([("a", zeros)]) if kind == "zip" else gzip.compress(tar_of([entry("a", zeros)]))
    refused(tmp_path, data, "5,000,000 bytes are allowed", most_bytes=5_000_000)
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM", 0)
    assert len(zeros) > 200 * len(data)
    refused(tmp_path, data, f"its own size makes {200 * len(data):,} likely")
    measured(f"{kind}: {len(zeros) // len(data)} times its own size refused")


def test_a_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    """Its directory says 10 bytes; what it holds unfolds to eight million."""
    data = bytearray(zip_of([("a", bytes(8_000_000))]))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.rindex(signature) + offset
        assert data[at : at + 4] == struct.pack("<I", 8_000_000)
        data[at : at + 4] = struct.pack("<I", 10)
    refused(tmp_path, bytes(data), "damaged at 'a'|unfolds to more", most_bytes=1000)


def test_many_members_together(tmp_path: Path) -> None:
    data = tar_of([entry(f"{n}", bytes(1000)) for n in range(10)])
    refused(tmp_path, data, "unfolds to more than it may at '5'", most_bytes=5_500)


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 4})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    refused(tmp_path, tar_of([entry("a", b"12345")]), "4 bytes are free")


def test_a_header_of_a_gigabyte_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    refused(tmp_path, info.tobuf() + bytes(2**21), "a header of 1,073,741,824 bytes")


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive(tmp_path: Path, packing: str, kept: float) -> None:
    data = PACK[packing](tar_of([entry(*item) for item in CONTENT.items()]))
    whole = len(data) if packing != "plain" else 300_000  # behind it only zeros
    refused(tmp_path, data[: int(kept * whole)], "archive")


def test_a_damaged_header_within_does_not_end_the_archive_quietly(tmp_path: Path) -> None:
    data = bytearray(tar_of([entry("a", b"1"), entry("b", b"2"), entry("c", b"3")]))
    data[1024 + 150] ^= 1  # the second member's checksum
    refused(tmp_path, bytes(data), "ends within its files")


def test_a_damaged_zip(tmp_path: Path) -> None:
    data = bytearray(zip_of([("a", zlib.compress(os.urandom(1000)))]))
    data[100] ^= 255
    refused(tmp_path, bytes(data), "damaged at 'a'")


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"PK\x03\x04", bytes(10240)])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data, "archive")


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "place/folder").mkdir(parents=True)
    (tmp_path / "place/folder/mine").touch()
    with pytest.raises(FileExistsError, match="must not be there"):
        unpack(tmp_path, tar_of([entry("a", b"1")]))
    assert (tmp_path / "place/folder/mine").exists()
