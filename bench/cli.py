"""How long the command line takes to answer, beside the start of Python itself.

python bench/cli.py [--rounds N] [--json FILE]

Wall time of whole processes, in turns: `--help`, `--list` and `--list --json` of
eval/run_transfer.py, `list` and `show` of `trickle`, and a `run` with nothing to do: of stages that
an earlier run with stand-ins for them (tests/eval) has finished. python_start is `python -c pass`,
import_torch `python -c "import torch"`: what nobody can answer faster than, and what an answer
would take at least that imported torch. The ratio of each is to `--list --json`.
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
    "nothing_to_do": (FAKE_RUN, "--backbone", "resnet50d_mixup", "--out", "out"),
}
PEERS = ("python_start", "import_torch")


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    arguments = bench_parser(__doc__).parse_args(argv)
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
            {name: partial(call, *command) for name, command in COMMANDS.items()},
            rounds=arguments.rounds,
            warmup=1,
        )
    for name, times in seconds.items():
        print(f"{name:<14} {statistics.median(times):.3f} s")
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


if __name__ == "__main__":
    main()
