"""One job as a process of its own: seen on the terminal, kept in a log, gone when we go."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

REPOSITORY = Path(__file__).resolve().parents[1]

_POLL_SECONDS = 0.1
_TAIL_LINES = 60
_GRACE_SECONDS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0))
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ERROR_STARTS = ("Traceback (most recent call last)", "error: ")


class Terminated(KeyboardInterrupt):
    """The run was asked to end by SIGTERM or SIGHUP, and does as for Ctrl-C."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


@dataclass(frozen=True, kw_only=True)
class Ended:
    """tail: the last lines that the process wrote to its standard error, progress left out."""

    returncode: int
    seconds: float
    tail: tuple[str, ...]

    @property
    def message(self) -> str:
        """Why it failed, for a record: from its last error message or traceback on."""
        starts = [i for i, line in enumerate(self.tail) if line.startswith(_ERROR_STARTS)]
        lines = self.tail[starts[-1] :] if starts else self.tail[-10:]
        if self.returncode < 0:
            number = -self.returncode
            name = signal.strsignal(number) or "unknown"
            hint = "; often: out of memory" if number == signal.SIGKILL else ""
            return "\n".join([*lines, f"ended by signal {number} ({name}{hint})"])
        return "\n".join(lines) or f"exit code {self.returncode}, and nothing said"


def one_line(message: str) -> str:
    """The line of a failure's message that says most."""
    lines = [line for line in message.splitlines() if line.strip()] or ["no reason given"]
    chosen = lines[0] if lines[0].startswith("error: ") else lines[-1]
    return chosen.removeprefix("error: ").strip()


def run_process(
    command: Sequence[str],
    *,
    log: Path,
    stop: Stop | None = None,
    lock: int | None = None,
    threads: int | None = None,
    alone: bool = True,
) -> Ended:
    """Runs a command to its end. What it says on standard error is shown and goes to `log`; what
    it says on standard output goes there only.

    alone: no other process writes to our terminal meanwhile, so it gets one and draws its
    progress there; else it writes plain lines. threads: of its arithmetic, unless OMP_NUM_THREADS
    says otherwise. lock: a descriptor that it inherits. Once `stop` is asked, it and all its
    children are ended, first by SIGINT so that they can tidy up, and Stopped is raised. Raises
    OSError where the command cannot be started.
    """
    stop = stop or Stop()
    started = time.monotonic()
    reading, writing = _terminal() if alone and sys.stderr.isatty() else os.pipe()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with open(log, "a", encoding="utf-8") as file:  # appends: the process writes to it too
        tee = _Tee(reading, file)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=writing,
                env=_environment(threads),
                # A session of its own: Ctrl-C reaches us alone, and we end the whole group.
                start_new_session=True,
                pass_fds=() if lock is None else (lock,),
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        tee.start()
        try:
            returncode = _wait(process, stop)
        except BaseException:
            _end(process, stop)
            raise
        finally:
            _signal_group(process, signal.SIGKILL)  # workers that it left behind
            tee.join()
            os.close(reading)
    return Ended(returncode=returncode, seconds=time.monotonic() - started, tail=tuple(tee.tail))


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise Terminated, so that no process outlives us."""

    def raise_terminated(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, raise_terminated) for number in _ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending_signals() -> list[signal.Signals]:
    # nohup ignores SIGHUP on purpose.
    candidates = (signal.SIGTERM, signal.SIGHUP)
    return [number for number in candidates if signal.getsignal(number) is not signal.SIG_IGN]


class Stop:
    """How the threads that wait for processes hear of Ctrl-C, which only the main thread does."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at_once = threading.Event()


class Stopped(Exception):
    """The process was ended because `Stop` was asked."""


class _Tee(threading.Thread):
    """Copies a descriptor to our standard error and, a line at a time, to a file."""

    def __init__(self, descriptor: int, file: TextIO) -> None:
        super().__init__(daemon=True)
        self.descriptor = descriptor
        self.file = file
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.rest = ""

    def run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while chunk := self._read():
            text = decoder.decode(chunk)
            with suppress(OSError, ValueError):  # our own standard error may be closed
                sys.stderr.write(text)
                sys.stderr.flush()
            *lines, self.rest = (self.rest + text).split("\n")
            for line in lines:
                self._keep(line)
        if self.rest:
            self._keep(self.rest)

    def _read(self) -> bytes:
        try:
            return os.read(self.descriptor, 1 << 16)
        except OSError:  # EIO: a terminal whose other side is closed
            return b""

    def _keep(self, line: str) -> None:
        # Of a line that was drawn over and over again, as it stood last.
        line = _ANSI.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip()
        if line:
            self.tail.append(line)
            with suppress(OSError):  # a full disk must not stop the reading
                self.file.write(line + "\n")
                self.file.flush()


def _terminal() -> tuple[int, int]:
    """A pseudo-terminal as wide as ours."""
    reading, writing = os.openpty()
    with suppress(OSError, termios.error):
        termios.tcsetwinsize(writing, termios.tcgetwinsize(sys.stderr.fileno()))
    return reading, writing


def _environment(threads: int | None) -> dict[str, str]:
    """Ours, with the repository on the path: the packages need not be installed."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment


def _wait(process: subprocess.Popen[bytes], stop: Stop) -> int:
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)
        if stop.asked.is_set():
            raise Stopped


def _end(process: subprocess.Popen[bytes], stop: Stop) -> None:
    for number, seconds in _GRACE_SECONDS:
        _signal_group(process, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not stop.at_once.is_set():
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                return
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
