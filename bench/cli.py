"""How long the command line takes to answer, beside the start of Python itself.

python bench/cli.py [--rounds N] [--finished DIR] [--json FILE]

Wall time of whole processes, in turns: `--help`, `--list` and `--list --json` of
eval/run_transfer.py, `list` and `show` of `trickle`, and runs with nothing to do. nothing_to_do is
`make run` again, its look at all the data included: it needs the OUT of one that is done
(`make run`, or --finished; by default runs/mini) and is left out without. nothing_to_do_fake is the
same of stand-ins for stages and data (tests/eval). python_start is `python -c pass`, import_torch
`python -c "import torch"`: what nobody can answer faster than, and what an answer would take at
least that imported torch. The ratio of each is to `--list --json`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, report, spread

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = str(ROOT / "eval" / "run_transfer.py")
TRICKLE = "import sys; from eval.cli import main; sys.exit(main())"
FAKE_RUN = str(ROOT / "tests" / "eval" / "fake_run.py")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python_start": ("-c", "pass"),
    "import_torch": ("-c", "import torch"),
    "help": (SCRIPT, "--help"),
    "list": (SCRIPT, "--list"),
    "list_json": (SCRIPT, "--list", "--json"),
    "trickle_list": ("-c", TRICKLE, "list"),
    "show": ("-c", TRICKLE, "show", "resnet50d_mixup"),
    "nothing_to_do_fake": (FAKE_RUN, "--backbone", "resnet50d_mixup", "--out", "out"),
}
FINISHED = ROOT / "runs" / "mini"
PEERS = ("python_start", "import_torch")


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument(
        "--finished",
        type=Path,
        metavar="DIR",
        help="OUT of a `make run` that is done (default: runs/mini)",
    )
    arguments = parser.parse_args(argv)
    finished = (arguments.finished or FINISHED).absolute()
    commands = dict(COMMANDS)
    if is_finished(finished):
        commands["nothing_to_do"] = again(finished)
    elif arguments.finished is not None:
        parser.error(f"--finished {arguments.finished}: jobs are to do there: `make run` first")
    else:
        print(f"nothing_to_do is left out: jobs are to do in {finished}: `make run` first")
    with tempfile.TemporaryDirectory(prefix="bench-cli-") as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "eval")]),
            "FAKE_CALLS": str(Path(folder) / "calls.txt"),
        }

        def call(*command: str) -> None:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                raise ValueError(f"{' '.join(command)}: {done.stderr}")

        seconds = alternate(
            {name: partial(call, *command) for name, command in commands.items()},
            rounds=arguments.rounds,
            warmup=1,
        )
    for name, times in seconds.items():
        print(f"{name:<18} {statistics.median(times):.3f} s")
    spreads = {peer: spread(seconds, "list_json", peer) for peer in PEERS}
    report(
        "cli",
        ratios={peer: found["ratio"] for peer, found in spreads.items()},
        raw={
            "medians": {name: statistics.median(times) for name, times in seconds.items()},
            "spreads": spreads,
            "seconds": seconds,
        },
        file=arguments.json,
    )


def again(out: Path) -> tuple[str, ...]:
    """What `make run` runs, into `out`."""
    return (SCRIPT, "--backbone", "resnet50d_mixup", "--out", str(out))


def is_finished(out: Path) -> bool:
    """Whether a run into `out` has nothing to do; nothing is trained or rendered to find out."""
    if not out.is_dir():
        return False
    command = [sys.executable, *again(out), "--dry-run"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    jobs = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    return bool(jobs) and set(jobs) == {"done"}


if __name__ == "__main__":
    main()
