"""docs/reliability.md: what the tests marked `reliability` promise, and what they measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.markdown import GENERATED, escape, table

PAGE = Path("docs/reliability.md")
FILE = Path("docs/reliability.json")
COMMAND = "make reliability"
POINTS = {
    1: "Exact resume",
    2: "The number of workers and processes changes nothing",
    3: "Saves are whole or absent",
    4: "Corruption is noticed",
    5: "No code from data",
    6: "Hostile data",
    7: "Numerical trouble",
    8: "Memory",
    9: "Concurrency",
    10: "Signals",
    11: "Validation",
    12: "The report, and servers",
    13: "Static checks and supply chain",
    14: "Soak",
}
NOT_TESTED = """\
## Not tested here, and why

- **A power cut.** What is saved is forced to the disk (fsync of file and folder) before it takes
  its name; tests kill processes and fill disks, but pull no plug. A disk that lies about fsync
  loses what it lied about.
- **Network file systems.** There is none on the machine of these tests. Locks are tested with
  `flock` and, as where it is missing, with lock files; an NFS or Lustre of yours is not.
- **GPUs**, where the line above says `accelerator: none`: that CUDA runs out of memory is
  simulated, fp16 runs on the CPU with the same scaler, and bit-exact resume is promised for the CPU
  only: kernels of a GPU may add in another order from run to run.
- **Several machines.** Data-parallel training, its restarts and its rendezvous are tested with two
  and four processes of one machine (gloo); nccl, which takes several GPUs, is not.
- **Other systems than Linux.** The code uses `fcntl`, `/proc` and process groups.
- **Someone with your rights.** Checksums notice decay and accidents. Whoever can write to OUT can
  write a record with a right checksum, too.
"""

_SHOWN_FIGURES = 4


def reliability_page(root: Path) -> dict[Path, str]:
    """The page by path, made of docs/reliability.json; none where no tests were recorded."""
    file = root / FILE
    if not file.is_file():
        return {}
    return {PAGE: render(json.loads(file.read_text(encoding="utf-8")))}


def failures(root: Path) -> list[str]:
    """A sentence for each recorded test that failed."""
    file = root / FILE
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
    return [
        f"{FILE}: {row['test']} failed; correct it, then `{COMMAND}`"
        for row in rows
        if row["outcome"] == "failed"
    ]


def render(report: Mapping[str, Any]) -> str:
    """The whole page. report: as tests/reliability_report.py writes it."""
    rows = report["rows"]
    parts = [GENERATED, "# Reliability", _introduction(report)]
    for point, title in POINTS.items():
        parts += [f"## {point}. {title}"]
        here = [row for row in rows if row["point"] == point]
        parts += [_table(here) if here else "No test of this point was recorded."]
    return "\n\n".join([*parts, NOT_TESTED])


def _introduction(report: Mapping[str, Any]) -> str:
    rows, machine = report["rows"], report["machine"]
    cases = sum(row["cases"] for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    bad = sum(row["outcome"] == "failed" for row in rows)
    left = sum(row["outcome"] == "skipped" for row in rows)
    verdict = f"**{bad} of them failed.**" if bad else "None failed."
    if left:
        verdict += f" {left} {'was' if left == 1 else 'were'} skipped, as said there."
    about = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in machine.items())
    return (
        "What a run that is left alone for days can rely on. Each line is a test, with what it "
        f"measured when `{COMMAND}` ran last: {report['date']}, {escape(about)}. "
        f"{len(rows)} tests with {cases} cases took {_duration(seconds)}. {verdict}"
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    return table(
        ["promise", "measured", "cases:", "time:", "test"],
        [
            [
                escape(row["promise"]),
                _measured(row),
                str(row["cases"]),
                _duration(row["seconds"]),
                _link(row["test"]),
            ]
            for row in rows
        ],
    )


def _measured(row: Mapping[str, Any]) -> str:
    """The figures of all cases, each once; what did not pass says so first."""
    figures = list(dict.fromkeys(escape(str(figure)) for figure in row["figures"]))
    more = len(figures) - _SHOWN_FIGURES
    said = [*figures[:_SHOWN_FIGURES], *([f"and {more} more"] if more > 0 else [])]
    if row["outcome"] != "passed":
        said = [f"**{row['outcome'].upper()}**", *said]
    return "; ".join(said) or "–"


def _link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[`{name}`](../{file})"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"
