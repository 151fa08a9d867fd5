from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from backbones import atomic


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    atomic.write_json_atomic(path, {"mAP": 1.5, "größe": None})
    atomic.write_json_atomic(path, {"mAP": 2.5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"mAP": 2.5}
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_stays_where_it_must_not_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "index"
    for data in (b"first", b"second"):
        with atomic.atomic_file(path, replace=False) as file:
            file.write(data)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["index"]


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    atomic.write_text_atomic(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_nan_is_no_json_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json_atomic(path, {"mAP": float("nan")})
    assert path.read_text() == "old"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_step_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(OSError, match="no space"):
        atomic.write_bytes_atomic(path, b"new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A real limit of the operating system on the size of files, in a process of its own."""
    path = tmp_path / "weights"
    path.write_text("old")
    code = """
        import resource, signal, sys
        from backbones.atomic import write_bytes_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_bytes_atomic(sys.argv[1], bytes(100_000))
        except OSError:
            sys.exit(7)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], cwd=Path.cwd(), check=False
    )
    assert done.returncode == 7
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["weights"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "artifact"
    with atomic.atomic_directory(target) as folder:
        (folder / "old").write_text("1")
    with atomic.atomic_directory(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "new").write_text("2")
        assert (target / "old").exists(), "the old one stays until the new one is whole"
    assert os.listdir(target) == ["sub"]
    assert os.listdir(tmp_path / "deep") == ["artifact"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_directory_leaves_the_old_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "artifact"
    with atomic.atomic_directory(target) as folder:
        (folder / "old").write_text("1")

    def write_half() -> None:
        with atomic.atomic_directory(target) as folder:
            (folder / "half").write_text("2")
            raise error

    with pytest.raises(error):
        write_half()
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["artifact"]


def test_a_killed_writer_leaves_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    with atomic.atomic_directory(target) as folder:
        (folder / "old").write_text("1")
    code = """
        import os, signal, sys
        from backbones.atomic import atomic_directory
        with atomic_directory(sys.argv[1]) as folder:
            (folder / "half").write_text("2")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(target)], cwd=Path.cwd(), check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(target) == ["old"]


def test_a_full_disk_names_the_file_in_its_final_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "artifact"

    def fill() -> None:
        with atomic.atomic_directory(target) as folder:
            atomic.write_text_atomic(folder / "small", "1")
            monkeypatch.setattr(os, "fsync", full)
            atomic.write_bytes_atomic(folder / "large", bytes(1234))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(atomic.NoSpace, match="1,234 bytes are needed") as caught:
        fill()
    assert str(caught.value).startswith(f"{target}/large cannot be written (No space left")
    assert os.listdir(tmp_path) == []


def test_another_writer_in_between_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory appears at the place after it was moved away: the last one to finish stays."""
    target = tmp_path / "artifact"
    with atomic.atomic_directory(target) as folder:
        (folder / "first").write_text("1")
    rename, moved = os.rename, []

    def rename_and_intrude(source: Path, destination: Path) -> None:
        rename(source, destination)
        if ".old-" in str(destination) and not moved:
            moved.append(destination)
            target.mkdir()
            (target / "intruder").write_text("2")

    monkeypatch.setattr(os, "rename", rename_and_intrude)
    with atomic.atomic_directory(target) as folder:
        (folder / "last").write_text("3")
    assert moved
    assert os.listdir(target) == ["last"]
    assert os.listdir(tmp_path) == ["artifact"]


def test_a_file_is_no_directory_to_replace(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    target.write_text("precious")
    with pytest.raises(NotADirectoryError), atomic.atomic_directory(target):
        pass
    assert target.read_text() == "precious"


def test_sha256_of_abc_is_that_of_fips_180(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert atomic.sha256_file(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
