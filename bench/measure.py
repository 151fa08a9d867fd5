"""What the benches share: timing in alternation, the machine, and the JSON that comes out."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Seconds = Mapping[str, list[float]]


def bench_parser(description: str | None) -> argparse.ArgumentParser:
    """With what all benches take: --rounds and --json."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=positive, default=15, help="timed calls of each (default: 15)"
    )
    parser.add_argument("--json", type=_writable, metavar="FILE", help="is written")
    return parser


def positive(text: str) -> int:
    """An argument's number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is needed, not {number}")
    return number


def _writable(text: str) -> Path:
    """A file whose folder is there before anything is measured."""
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path.parent}: {error.strerror}") from error
    return path


def alternate(
    arms: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Seconds of each call by arm, one call of every arm in each round.

    So all of them meet the same load of the machine. The order turns round after each round: none
    always runs behind the same other one, whose data fill the caches. warmup: rounds before,
    which are not timed.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    order = list(arms)
    for index in range(warmup + rounds):
        for name in order:
            synchronize()
            start = time.perf_counter()
            arms[name]()
            synchronize()
            if index >= warmup:
                seconds[name].append(time.perf_counter() - start)
        order.reverse()
    return seconds


def rate_ratio(seconds: Seconds, ours: str, peer: str) -> float:
    """Our rate over the peer's: the median over the rounds of the peer's seconds over ours.

    Of pairs, since the two calls of one round lie next to each other; the median does not mind a
    round that something else disturbed.
    """
    pairs = zip(seconds[ours], seconds[peer], strict=True)
    return statistics.median(theirs / own for own, theirs in pairs)


def spread(seconds: Seconds, ours: str, peer: str) -> dict[str, float]:
    """`rate_ratio` and the quartiles of the rounds' own ratios: {"ratio", "q1", "q3"}."""
    pairs = zip(seconds[ours], seconds[peer], strict=True)
    ratios = [theirs / own for own, theirs in pairs]
    q1, _, q3 = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"ratio": rate_ratio(seconds, ours, peer), "q1": q1, "q3": q3}


def report(
    name: str,
    *,
    ratios: Mapping[str, float],
    raw: Mapping[str, Any],
    file: Path | None = None,
) -> dict[str, Any]:
    """Prints the ratios and, with a file, writes the bench's JSON; returns what is written."""
    from backbones.atomic import write_json_atomic

    found = {
        "name": name,
        "machine": machine(),
        "versions": versions(),
        "ratios": dict(ratios),
        "raw": dict(raw),
    }
    for peer, value in ratios.items():
        print(f"{name}: {value:.2f} times the rate of {peer}")
    if file is not None:
        write_json_atomic(file, found)
    return found


def machine() -> dict[str, str]:
    """Processor, cores, threads, accelerator, and load average and day when the bench ended."""
    from engine.stage import environment

    facts = environment()
    known = {key: facts[key] for key in ("platform", "cpu", "cpu_count", "threads", "accelerator")}
    load = (
        " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else ""
    )
    return {**known, "load_average": load, "date": datetime.now(UTC).date().isoformat()}


def versions() -> dict[str, str]:
    """Of Python, the libraries and this source."""
    from backbones.provenance import git_revision, library_versions

    return {**library_versions(), "git_revision": git_revision() or "unknown"}


def synchronize() -> None:
    """Waits for the GPU, where there is one: its work is timed and not the launching of it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
