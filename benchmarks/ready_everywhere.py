"""A benchmark made ready in every one of several processes, and the same in all of them."""

from __future__ import annotations

from benchmarks.prepare import PreparedBenchmark, ensure_ready
from benchmarks.schema import OF_THIS_MACHINE, STAGES, load_benchmark
from engine.agreement import all_or_none, require_same


def ensure_ready_everywhere(name: str, *, warn: bool, tolerate: int) -> PreparedBenchmark:
    """`ensure_ready` of the benchmark of this name or file, in each process.

    Raises ValueError in all processes where one of them, which the message names, finds no such
    benchmark, no data or other data than the first one.
    """
    prepared = all_or_none(lambda: ensure_ready(load_benchmark(name), warn=warn, tolerate=tolerate))
    on_this_machine = dict.fromkeys(STAGES, OF_THIS_MACHINE)
    budgets = prepared.benchmark.model_dump(mode="json", exclude=on_this_machine)
    require_same("benchmark", budgets, f"give every machine the same {name}")
    require_same("data digest", prepared.digests, "give every machine the same images")
    return prepared
