"""One at a time, between processes: of one machine, or of several that share a folder.

A lock is a file that is locked by flock. Its descriptor can be handed to a process that its holder
starts, and then stays held while either of them lives.

Where the file system has no flock, or TRICKLE_LOCKS=files asks for it because flock does not reach
from one machine to the next, a second file beside it is a lease: made once, touched every few
seconds. It is taken over as soon as its process is gone on the same machine, or after a minute
without a touch. All that use one folder have to agree on the variable.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import SoftFileLease

LOCKS_VARIABLE = "TRICKLE_LOCKS"
LEASE_SECONDS = 60.0
HEARTBEAT_SECONDS = 5.0
HEIR_SECONDS = 15.0
"""How long what a dead process had started may go on where only the lease tells of it."""

_POLL_SECONDS = 0.05
# ENOLCK: NFS without a lock daemon.
_NO_FLOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class LockLost(OSError):
    """What was held is not ours any more: its folder was deleted, or it was taken over."""


class Lock:
    """A lock on `path`, a name that ends in .lock; nothing is held until `acquire` gives True.

    inherited: processes that the holder starts are given its `descriptor`. The files vanish with
    the lock; what a killed process leaves behind does no harm.
    """

    def __init__(self, path: Path, *, inherited: bool = False) -> None:
        self.path = path
        self.inherited = inherited
        self.descriptor: int | None = None
        self._held = False
        self._holder = path.with_suffix(".holder")
        self._lease: SoftFileLease | None = None
        self._usable_from = 0.0

    def acquire(self) -> bool:
        """Takes the lock if it is free; never waits. A lease grows old in the eyes of the object
        that looks at it, so the same one is to be asked again and again.

        Raises OSError where the folder cannot be written.
        """
        if self._held:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if os.environ.get(LOCKS_VARIABLE) == "files" and not self._take_lease():
            return False
        try:
            taken = self._take_flock()
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            taken = self._take_lease() and time.monotonic() >= self._usable_from
        if taken:
            self._held = True
            with suppress(OSError):  # it only serves a message
                self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        return taken

    def release(self) -> None:
        """Gives back what is held; nothing happens where nothing is."""
        with suppress(OSError):  # deleted, or on a file system that has become unwritable
            if self._held:
                self.check()  # else what lies there is another's
                self._holder.unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
        self._held = False
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
        if self._lease is not None:
            with suppress(OSError):
                self._lease.release()
            self._lease = None

    def check(self) -> None:
        """Raises LockLost where somebody else may hold by now what we took."""
        if self._lease is not None and self._lease.compromise is not None:
            raise LockLost(
                f"{self.path} was taken over by another process: this one, or its file system, "
                f"stood still for more than {LEASE_SECONDS:.0f} s"
            )
        if self.descriptor is not None and not _names(self.path, self.descriptor):
            raise LockLost(f"{self.path} is gone: was its folder deleted or moved meanwhile?")

    @property
    def holder(self) -> str:
        """`process 123 on machine`, as far as that is known."""
        try:
            return self._holder.read_text(errors="replace")[:200].strip() or "another process"
        except OSError:
            return "another process"

    def _take_flock(self) -> bool:
        from filelock import lock_descriptor

        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            # The one who held it until now may have removed the file that we opened.
            if lock_descriptor(descriptor, blocking=False) and _names(self.path, descriptor):
                self.descriptor = descriptor
                return True
            return False
        finally:
            if self.descriptor != descriptor:
                os.close(descriptor)

    def _take_lease(self) -> bool:
        from filelock import SoftFileLease, Timeout

        if self._lease is None:
            self._lease = SoftFileLease(
                self.path.with_suffix(".lease"),
                lease_duration=LEASE_SECONDS,
                heartbeat_interval=HEARTBEAT_SECONDS,
                thread_local=False,
            )
        if self._lease.is_locked and self._lease.compromise is None:
            return True
        if self._lease.compromise is not None:  # while the jobs of its last holder were waited for
            self._lease.release()
        try:
            self._lease.acquire(blocking=False)
        except Timeout:
            self._give_up_lease_of_zombie()
            return False
        if self.inherited and self._holder.exists():  # it did not end well
            self._usable_from = time.monotonic() + HEIR_SECONDS
        return True

    def _give_up_lease_of_zombie(self) -> None:
        """Removes a lease whose process has ended and is not reaped yet, as in a container whose
        first process never does that: filelock takes it for alive."""
        assert self._lease is not None, "it was asked for"
        path, owner = Path(self._lease.lock_file), self._lease.owner
        with suppress(OSError):
            seen = path.stat().st_ino
            if owner is None or not _is_zombie(owner.pid, owner.start):
                return
            # Renamed, so that one of those who see this removes it; and looked at again, should it
            # have been taken over since.
            aside = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}")
            path.rename(aside)
            if aside.stat().st_ino != seen:
                os.link(aside, path)
            aside.unlink()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds the lock `path` (a name that ends in .lock); waits while another process holds it."""
    lock = Lock(path)
    try:
        while not lock.acquire():
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        lock.release()


def _is_zombie(pid: int, start: int | None) -> bool:
    """Whether it is a process of this machine that has ended. start: filelock's, in whose lowest 64
    bits the kernel's start time stands: the number may be another's elsewhere, or by now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0] == "Z" and start is not None and start % 2**64 == int(fields[19])
    except (OSError, IndexError, ValueError):
        return False


def _names(path: Path, descriptor: int) -> bool:
    """Whether `path` is the file that is open; as long as nothing speaks against it, it is."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
    except OSError:
        return True
