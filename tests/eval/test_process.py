"""Processes: what they said is kept, what they are worth is said, and none outlives us."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.process import Ended, one_line, run_process

ROOT = Path(__file__).resolve().parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def test_the_last_error_is_the_message(tmp_path: Path) -> None:
    code = (
        "import sys; print('step 1', file=sys.stderr)\n"
        "try:\n    {}['a']\nexcept KeyError:\n    raise RuntimeError('out of luck')"
    )
    ended = run_process(python(code), log=tmp_path / "logs" / "job.log")
    assert ended.returncode == 1
    assert ended.message.startswith("Traceback")
    assert one_line(ended.message) == "RuntimeError: out of luck"
    assert "step 1" in (tmp_path / "logs" / "job.log").read_text()


def test_an_error_of_several_lines_is_kept_whole(tmp_path: Path) -> None:
    code = "import sys; sys.exit('noise\\nerror: keys do not fit:\\n  missing: a\\n  unknown: b')"
    ended = run_process(python(code), log=tmp_path / "log")
    assert ended.message == "error: keys do not fit:\n  missing: a\n  unknown: b"
    assert one_line(ended.message) == "keys do not fit:"


def test_a_killed_process_is_said_to_be_killed(tmp_path: Path) -> None:
    ended = run_process(python("import os; os.kill(os.getpid(), 9)"), log=tmp_path / "log")
    assert ended.returncode == -9
    assert "signal 9" in ended.message
    assert "memory" in ended.message


def test_a_silent_failure_still_has_a_message() -> None:
    assert "exit code 3" in Ended(returncode=3, seconds=0.0, tail=()).message


def test_standard_output_goes_to_the_log_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; print('seen', file=sys.stderr); print('kept')"
    for _ in range(2):  # the log is that of the last attempt
        run_process(python(code), log=tmp_path / "log")
    assert sorted((tmp_path / "log").read_text().split()) == ["kept", "seen"]
    assert capfd.readouterr() == ("", "seen\nseen\n")


def test_a_progress_line_is_kept_as_it_stood_last(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('\\r\\x1b[K 1/3\\r\\x1b[K 2/3\\r\\x1b[K 3/3\\nend\\n')"
    ended = run_process(python(code), log=tmp_path / "log")
    assert ended.tail == (" 3/3", "end")


@pytest.mark.reliability(
    12, "What a job says reaches the terminal without escape sequences but those of progress bars."
)
def test_what_a_job_says_does_not_command_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import os, time\n"
        "os.write(2, b'\\r\\x1b[K 1/3\\x1b'); time.sleep(0.3)\n"  # in the middle of a sequence
        "os.write(2, b'[K\\r\\x1b[32mgreen\\x1b[0m\\n')\n"
        "os.write(2, 'bad name \\x1b]0;title\\x07 \\x1b[2J \\u202e \\x9b1m.jpg\\n\\x1b'.encode())"
    )
    ended = run_process(python(code), log=tmp_path / "log")
    harmless = "bad name \\x1b]0;title\\x07 \\x1b[2J \\u202e \\x9b1m.jpg\n\\x1b"
    shown = capfd.readouterr().err
    assert shown == f"\r\x1b[K 1/3\x1b[K\r\x1b[32mgreen\x1b[0m\n{harmless}\n"
    assert ended.tail[0] == "green"
    assert ended.tail[2] == "\\x1b"
    assert "\x1b" not in (tmp_path / "log").read_text()


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    code = "import os; os.write(2, b'a\\xff\\xfeb\\n' + b'x' * 500_000)"
    ended = run_process(python(code), log=tmp_path / "log")
    assert ended.returncode == 0
    assert len(ended.tail) == 2


def test_workers_that_a_process_leaves_behind_are_ended(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, file=sys.stderr)"
    )
    started = time.monotonic()
    ended = run_process(python(code), log=tmp_path / "log")
    assert time.monotonic() - started < 10
    assert wait_until_gone(int(ended.tail[-1]))


def test_our_packages_cannot_be_shadowed_by_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "__init__.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-P", "-m", "eval.run_transfer", "--help"]
    assert run_process(command, log=tmp_path / "log").returncode == 0


def test_on_a_terminal_the_process_has_a_terminal(tmp_path: Path) -> None:
    """Progress bars draw themselves only where they see one."""
    code = (
        "import sys; from pathlib import Path; from eval.process import run_process\n"
        "child = 'import sys; print(sys.stderr.isatty(), file=sys.stderr)'\n"
        "ended = run_process([sys.executable, '-c', child], log=Path(sys.argv[1]))\n"
        "print(ended.tail)"
    )
    reading, writing = pty.openpty()
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    done = subprocess.run(command, stderr=writing, stdout=subprocess.PIPE, cwd=ROOT, timeout=30)
    os.close(writing)
    assert done.stdout.strip() == b"('True',)"
    assert b"True" in os.read(reading, 100)
    os.close(reading)


def test_a_job_knows_its_share_of_what_the_run_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRICKLE_CORES", "4")  # of the run, which starts this job beside another
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # the user's word
    names = ("TRICKLE_CORES", "RAYON_NUM_THREADS", "OMP_NUM_THREADS")
    code = f"import os; print(*(os.environ[name] for name in {names}))"
    run_process(python(code), log=tmp_path / "log", cores=2.0)
    assert (tmp_path / "log").read_text().split() == ["2.0", "2", "7"]
