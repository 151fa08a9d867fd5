"""Files and directories that are whole or absent, whatever interrupts the writing.

Everything is written beside its place under a temporary name, forced to the disk (fsync) and
renamed: a full disk, a killed process or a power cut leaves the old content or none, never half.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK_BYTES = 1 << 20
_SWAP_ATTEMPTS = 10
# A full disk, a used-up quota, a file above the size that the process may write.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoSpace(OSError):
    """There is no room for a file; what stood in its place is as it was."""

    def __init__(self, path: Path, needed: int, cause: OSError) -> None:
        super().__init__(cause.errno, no_space(path, needed=needed, cause=cause), str(path))
        self.path, self.needed, self.cause = path, needed, cause

    def __str__(self) -> str:
        return str(self.strerror)


def no_space(path: Path, *, needed: int | None, cause: OSError) -> str:
    """What happened, where and what to do, for an error that `is_no_space`."""
    wanted = "" if needed is None else f": {needed:,} bytes are needed"
    return (
        f"{path} cannot be written ({cause.strerror}){wanted}, {_free_bytes(path.parent):,} bytes "
        "are free on its file system. What was there before is unchanged: make room and run the "
        "same command again"
    )


def is_no_space(error: OSError) -> bool:
    """Whether the disk is full or a quota is used up."""
    return error.errno in _NO_SPACE


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes | bytearray) -> None:
    """Writes `data` to `path`, replacing what is there in one step.

    The folder must exist. Raises OSError when the disk refuses (NoSpace when it is full); `path`
    is then as it was.
    """
    path = Path(path)
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as error:
        if is_no_space(error):
            raise NoSpace(path, len(data), error) from error
        raise


@contextmanager
def atomic_file(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Yields a new file that becomes `path` when the block ends well, replacing what is there;
    without `replace`, what is there stays.

    The folder must exist. Raises OSError when the disk refuses; `path` is then as it was.
    """
    temporary = _temporary_sibling(path)
    try:
        # "x" keeps the umask's permissions, which tempfile.mkstemp (0600) would not.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace or not _linked(temporary, path):
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync_folder(path.parent)


def _linked(temporary: Path, path: Path) -> bool:
    """Whether `path` is there now, new or as it was; False where the disk knows no links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return True
    except OSError:
        return path.exists()
    return True


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8; otherwise as `write_bytes_atomic`."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: str | os.PathLike[str], obj: Any) -> None:
    """Writes `obj` as indented JSON that ends in a newline.

    Raises ValueError for NaN and infinity (JSON has neither; what is missing is null) and
    TypeError for what JSON cannot hold; nothing is written then.
    """
    text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty temporary directory that becomes `path` when the block ends well.

    An existing directory `path` is replaced as a whole. On an error in the block, Ctrl-C
    included, the temporary directory is removed and `path` stays as it was; NoSpace names the
    file's place under `path`. Missing parents are made. Raises NotADirectoryError where `path` is
    a file.
    """
    path = Path(path).absolute()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file stands where a directory goes", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        _fsync_tree(temporary)
        _swap_in(temporary, path)
    except NoSpace as error:
        shutil.rmtree(temporary, ignore_errors=True)  # first: the room it took counts as free
        if not error.path.is_relative_to(temporary):
            raise
        place = path / error.path.relative_to(temporary)
        raise NoSpace(place, error.needed, error.cause) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _fsync_folder(path.parent)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _free_bytes(folder: Path) -> int:
    folders = (folder, *folder.absolute().parents)
    status = os.statvfs(next(parent for parent in folders if parent.exists()))
    return status.f_bavail * status.f_frsize


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(6)}")


def _swap_in(temporary: Path, path: Path) -> None:
    """Renames `temporary` to `path`; a directory there is moved away first, then deleted.

    POSIX renames onto nothing or onto an empty directory only. Another process may put its own
    directory there in between (two runs that make the same artifact), hence the attempts.
    """
    for _ in range(_SWAP_ATTEMPTS):
        try:
            os.rename(temporary, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        displaced = path.with_name(f".{path.name}.old-{secrets.token_hex(6)}")
        try:
            os.rename(path, displaced)
        except FileNotFoundError:
            continue
        try:
            os.rename(temporary, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(OSError):
                    os.rename(displaced, path)
                raise
        finally:
            shutil.rmtree(displaced, ignore_errors=True)
    raise OSError(errno.EBUSY, "another process keeps writing this directory", str(path))


def _fsync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(Path(parent, name), "rb") as file:
                os.fsync(file.fileno())
        _fsync_folder(Path(parent))


def _fsync_folder(folder: Path) -> None:
    """Forces the folder's entries (names, not contents) to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no fsync for folders; the rename is atomic all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
