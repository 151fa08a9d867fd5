"""Locks: one at a time whatever the file system can do, and a killed holder stops nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import locks
from engine.locks import Lock, LockLost, exclusive

ROOT = Path(__file__).resolve().parents[2]
Measured = Callable[[str], None]

# Each holder makes a folder that no other may find; some are killed with the lock in their hands.
CONTENDER = """
import errno, fcntl, os, signal, sys, time
from pathlib import Path
from engine.locks import exclusive

mode, folder, rounds, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
if mode == "none":
    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "no flock here")
    fcntl.flock = flock

def say(what):
    with open(folder / "log.txt", "a") as log:
        log.write(f"{what} {os.getpid()}\\n")

for round in range(rounds):
    with exclusive(folder / "one.lock"):
        say("begins")
        time.sleep(0.002)
        if number % 2 and round == rounds - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        say("ends")
"""
MODES = ["flock", "files", "none"]


def no_flock(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """flock; flock and leases; leases alone, where there is no flock."""
    if request.param == "files":
        monkeypatch.setenv(locks.LOCKS_VARIABLE, "files")
    if request.param == "none":
        monkeypatch.setattr(fcntl, "flock", no_flock)
    return request.param


def test_one_holds_it_and_leaves_nothing_behind(mode: str, tmp_path: Path) -> None:
    one, other = (Lock(tmp_path / "locks" / "a.lock") for _ in range(2))
    assert one.acquire()
    assert one.acquire()  # what is held stays held
    assert not other.acquire()
    assert other.holder == f"process {os.getpid()} on {os.uname().nodename}"
    one.check()
    one.release()
    one.release()
    assert other.acquire()
    other.release()
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.reliability(
    9,
    "Of many processes that want a lock one at a time has it, also when "
    "holders are killed; with flock, with leases, and without flock.",
)
def test_one_at_a_time_though_holders_are_killed(
    mode: str, tmp_path: Path, measured: Measured
) -> None:
    contenders, rounds = 6, 8
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, mode, str(tmp_path), str(rounds), str(number)],
            cwd=ROOT,
        )
        for number in range(contenders)
    ]
    deadline = time.monotonic() + 50  # well below what a lease lasts
    while None in (codes := [process.poll() for process in processes]):
        assert time.monotonic() < deadline, codes
        time.sleep(0.05)
    assert codes == [0, -9] * (contenders // 2)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    begun = [line.split()[1] for line in lines if line.startswith("begins")]
    assert len(begun) == contenders * rounds
    killed = {str(process.pid) for process in processes if process.returncode}
    for line, following in zip(lines, [*lines[1:], "begins"], strict=True):
        what, pid = line.split()
        if what == "begins" and following != f"ends {pid}":  # only killed ones do not end
            assert pid in killed
            killed.remove(pid)
    assert killed == set()
    measured(f"{mode}: {contenders} processes, {rounds} turns each, 3 killed, 0 overlaps")


def test_a_process_that_inherits_a_lock_keeps_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a.lock", inherited=True)
    assert lock.acquire()
    assert lock.descriptor is not None
    heir = subprocess.Popen(["sleep", "30"], pass_fds=[lock.descriptor])
    os.close(lock.descriptor)  # as if we had been killed: nothing is tidied up
    other = Lock(tmp_path / "a.lock", inherited=True)
    assert not other.acquire()
    heir.kill()
    heir.wait()
    assert other.acquire()
    other.release()
    lock.descriptor = None


def test_without_flock_the_jobs_of_a_dead_holder_get_time_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_flock)
    monkeypatch.setattr(locks, "HEIR_SECONDS", 0.5)
    code = (
        "import errno, fcntl, os; from pathlib import Path; from engine.locks import Lock\n"
        "def flock(descriptor, operation): raise OSError(errno.ENOSYS, 'none')\n"
        "fcntl.flock = flock\n"
        f"assert Lock(Path({str(tmp_path / 'a.lock')!r}), inherited=True).acquire()\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60)
    lock = Lock(tmp_path / "a.lock", inherited=True)
    started = time.monotonic()
    while not lock.acquire():
        assert time.monotonic() - started < 10
        time.sleep(0.02)
    assert time.monotonic() - started >= 0.5
    lock.release()


def test_a_killed_holder_that_is_not_reaped_yet_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(locks.LOCKS_VARIABLE, "files")
    code = (
        "import os; from pathlib import Path; from engine.locks import Lock\n"
        f"assert Lock(Path({str(tmp_path / 'a.lock')!r})).acquire()\n"
        "os.kill(os.getpid(), 9)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    stat = Path(f"/proc/{holder.pid}/stat")
    deadline = time.monotonic() + 20
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    one, other = (Lock(tmp_path / "a.lock") for _ in range(2))
    while not one.acquire():
        assert time.monotonic() < deadline  # well below what a lease lasts
        time.sleep(0.02)
    assert not other.acquire()
    one.check()
    one.release()
    assert holder.wait() == -9
    assert list(tmp_path.iterdir()) == []


def test_a_lease_of_another_machine_lasts_a_minute_without_a_touch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other machine is a lease with another host's name in it, touched by nobody."""
    monkeypatch.setenv(locks.LOCKS_VARIABLE, "files")
    assert locks.LEASE_SECONDS == 60
    monkeypatch.setattr(locks, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.9)
    ours = Lock(tmp_path / "a.lock")
    assert ours.acquire()
    marker = tmp_path / "a.lease"
    text = marker.read_text()
    assert os.uname().nodename in text
    ours.release()
    marker.write_text(text.replace(os.uname().nodename, "elsewhere"))
    lock = Lock(tmp_path / "a.lock")
    assert not lock.acquire()
    time.sleep(0.5)
    assert not lock.acquire()
    time.sleep(0.7)
    assert lock.acquire() or lock.acquire()
    lock.release()


def test_who_stood_still_for_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(locks.LOCKS_VARIABLE, "files")
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.05)
    lock = Lock(tmp_path / "a.lock")
    assert lock.acquire()
    (tmp_path / "a.lease").unlink()  # as another process does that takes it over
    time.sleep(1)
    with pytest.raises(LockLost, match="taken over by another process"):
        lock.check()
    lock.release()


def test_a_folder_that_is_deleted_takes_the_lock_with_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a.lock")
    assert lock.acquire()
    (tmp_path / "a.lock").unlink()
    other = Lock(tmp_path / "a.lock")
    assert other.acquire()
    with pytest.raises(LockLost, match="deleted or moved"):
        lock.check()
    lock.release()
    other.check()  # and what is another's stays as it is
    assert other.holder.startswith("process")
    other.release()


def test_exclusive_gives_back_what_it_holds_on_an_error(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with pytest.raises(RuntimeError), exclusive(path):
        raise RuntimeError("for example")
    with exclusive(path):
        assert not Lock(path).acquire()
