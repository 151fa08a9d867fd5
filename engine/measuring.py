"""The command line of the stages that measure an artifact as it is."""

from __future__ import annotations

import argparse
from pathlib import Path


def measurement_arguments(description: str | None, argv: list[str] | None) -> argparse.Namespace:
    """artifact, benchmark, tolerate, seed, work_dir, result."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--artifact", required=True, type=Path, help="directory of the backbone")
    add("--benchmark", default="mini", help="mini, paper or a TOML file")
    add("--tolerate", default=0, type=int, metavar="N", help="unusable files that are left out")
    add("--seed", default=0, type=int)
    add("--work-dir", required=True, type=Path, help="what is kept on the way")
    add("--result", required=True, type=Path, help="JSON file to write")
    return parser.parse_args(argv)
