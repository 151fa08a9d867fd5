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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.interruption import DRIVER_PIPE
from engine.locks import Lock
from engine.threads import CORES_VARIABLE, variables
from eval.termination import Asked
from eval.text import visible

REPOSITORY = Path(__file__).resolve().parents[1]

_POLL_SECONDS = 0.1
_TAIL_LINES = 60
_CHECK_SECONDS = 1.0
_LEFT_BEHIND_SECONDS = 3.0
_GRACE_SECONDS = 8.0
INTERRUPTED_CODES = {
    code
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for code in (-number, 128 + number)
}
"""How a process ends that was asked to, by its own handler (128 + the signal) or without one."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DRAWING = re.compile(r"(\x1b\[[0-9;]*[Km]|[\r\t])")  # all that a progress bar needs
_UNFINISHED = re.compile(r"\x1b(\[[0-9;]*)?\Z")
_ERROR_STARTS = ("Traceback (most recent call last)", "error: ")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """tail: the last lines that the process wrote to its standard error, progress left out.
    host: the machine that it ran on, where that is another one."""

    returncode: int
    seconds: float
    tail: tuple[str, ...]
    host: str | None = None

    @property
    def message(self) -> str:
        """Why it failed, for a record: from its last error message or traceback on, and where."""
        message = self._message()
        if self.host is None:
            return message
        telling = _telling_line(message)
        return message.replace(telling, f"{telling} (on {self.host})", 1)

    def _message(self) -> str:
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
    return _telling_line(message).removeprefix("error: ").strip()


def _telling_line(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip()] or ["no reason given"]
    return lines[0] if lines[0].startswith("error: ") else lines[-1]


def run_process(
    command: Sequence[str],
    *,
    log: Path,
    stop: threading.Event | None = None,
    lock: Lock | None = None,
    cores: float | None = None,
    alone: bool = True,
) -> Ended:
    """Runs a command to its end. What it says on standard error is shown and goes to `log`; what
    it says on standard output goes there only. A log that cannot be written stops nothing.

    alone: no other process writes to our terminal meanwhile, so it gets one and draws its
    progress there; else it writes plain lines. cores: its share of the machine's, which its
    threads follow from. lock: one that it inherits; LockLost is raised, and the process ended,
    once it is not ours any more. Once `stop` is set, the process gets SIGTERM, and 8 s to tidy up;
    then it and all its children are killed, and Stopped is raised. See `eval.termination`
    for when it is killed at once.

    The process also inherits a descriptor, named by TRICKLE_DRIVER_PIPE, that is at its end once
    we are gone, however that came. Raises OSError where the command cannot be started.
    """
    stop = stop or threading.Event()
    started = time.monotonic()
    with ExitStack() as ours, ExitStack() as unread, ExitStack() as theirs:
        shown, errors = _terminal() if alone and sys.stderr.isatty() else os.pipe()
        kept, output = os.pipe()
        alive, keep_alive = os.pipe()  # the other way round: it waits for our end to be closed
        for stack, descriptors in (
            (ours, [keep_alive]),
            (unread, [shown, kept]),
            (theirs, [errors, output, alive]),
        ):
            for descriptor in descriptors:
                stack.callback(os.close, descriptor)
        inherited = [alive]
        if lock is not None and lock.descriptor is not None:
            inherited.append(lock.descriptor)
        file = ours.enter_context(_opened(log))
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=_environment(cores) | {DRIVER_PIPE: str(alive)},
            # A session of its own: Ctrl-C reaches us alone, and we end the whole group.
            start_new_session=True,
            pass_fds=inherited,
        )
        unread.pop_all()  # from here on closed by those that read them
        tees = (_Tee(shown, file, shown=True), _Tee(kept, file, shown=False))
        for tee in tees:
            tee.start()
        theirs.close()
        try:
            returncode = _wait(process, stop, lock)
        except BaseException:
            _end(process)
            raise
        finally:
            _signal_group(process, signal.SIGKILL)  # workers that it left behind
            for tee in tees:  # a process that left the group could keep the other end for ever
                tee.join(_LEFT_BEHIND_SECONDS)
    seconds = time.monotonic() - started
    return Ended(returncode=returncode, seconds=seconds, tail=tuple(tees[0].tail))


class Stopped(Exception):
    """The process was ended because `stop` was set."""


class _Tee(threading.Thread):
    """Copies a descriptor, a line at a time, to a file and, if it is to be shown, as it comes to
    our standard error; closes it at its end. A message may hold names of anybody's files: what
    they would tell a terminal is spelled out."""

    def __init__(self, descriptor: int, file: BinaryIO, *, shown: bool) -> None:
        super().__init__(daemon=True)
        self.descriptor = descriptor
        self.file = file
        self.shown = shown
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.rest = ""

    def run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        unshown = ""
        while chunk := self._read():
            text = decoder.decode(chunk)
            if self.shown:
                unshown = self._show(unshown + text)
            *lines, self.rest = (self.rest + text).split("\n")
            head, _, last = self.rest.rpartition("\r")
            self.rest = last or head.rpartition("\r")[2]  # what was drawn over is gone
            for line in lines:
                self._keep(line)
        if self.rest:
            self._keep(self.rest)
        if unshown:
            self._show(f"{unshown}\n")
        os.close(self.descriptor)

    @staticmethod
    def _show(text: str) -> str:
        """Gives what cannot be shown before more has come."""
        cut = found.start() if (found := _UNFINISHED.search(text)) else len(text)
        parts = _DRAWING.split(text[:cut])
        parts[::2] = [visible(part) for part in parts[::2]]
        with suppress(OSError, ValueError):  # our own standard error may be closed
            sys.stderr.write("".join(parts))
            sys.stderr.flush()
        return text[cut:]

    def _read(self) -> bytes:
        try:
            return os.read(self.descriptor, 1 << 16)
        except OSError:  # EIO: a terminal whose other side is closed
            return b""

    def _keep(self, line: str) -> None:
        # Of a line that was drawn over and over again, as it stood last.
        line = visible(_ANSI.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip().expandtabs())
        if line:
            self.tail.append(line)
            with suppress(OSError, ValueError):  # a full disk must not stop the reading
                self.file.write(f"{line}\n".encode(errors="replace"))


@contextmanager
def _opened(log: Path) -> Iterator[BinaryIO]:
    """The log, new and unbuffered, or nowhere."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        print(f"goes on without the log {log}: {error.strerror}", file=sys.stderr, flush=True)
        descriptor = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        yield file


def _terminal() -> tuple[int, int]:
    """A pseudo-terminal as wide as ours."""
    reading, writing = os.openpty()
    with suppress(OSError, termios.error):
        termios.tcsetwinsize(writing, termios.tcgetwinsize(sys.stderr.fileno()))
    return reading, writing


def _environment(cores: float | None) -> dict[str, str]:
    """Ours, with the repository on the path: the packages need not be installed."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if cores is not None:
        # The share is ours to divide; what the user has set of the threads stays.
        environment = {**variables(cores), **environment, CORES_VARIABLE: str(cores)}
    return environment


def _wait(process: subprocess.Popen[bytes], stop: threading.Event, lock: Lock | None) -> int:
    next_check = time.monotonic() + _CHECK_SECONDS
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)
        if stop.is_set():
            raise Stopped
        if lock is not None and time.monotonic() >= next_check:
            lock.check()
            next_check = time.monotonic() + _CHECK_SECONDS


def _end(process: subprocess.Popen[bytes]) -> None:
    # Not to the whole group: a process that is to finish its step needs its workers for that.
    # Not SIGINT, for which one that is still at its imports would print a traceback.
    with suppress(ProcessLookupError):
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and not Asked.again:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            return
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
