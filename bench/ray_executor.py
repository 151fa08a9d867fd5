"""How near `--executor ray` comes to the ideal time: 16 jobs on 4 nodes with one processor each.

python bench/ray_executor.py [--jobs 16] [--nodes 4] [--seconds 20] [--json FILE]

The nodes are Ray's, all on this machine; the jobs sleep, so that they need no processor that
another has, and write a result. Measured is from connecting to the cluster, the comparison of its
nodes' software included, to the last record; ideal is the jobs' sleep, shared evenly among the
nodes. The cluster's own start is not counted.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import bench_parser, positive, report
from eval.execute import End
from eval.jobs import Job
from eval.layout import Layout
from eval.plan import Plan
from eval.specs import parse_spec

STORE_BYTES = 80 << 20
JOB = (
    "import pathlib, sys, time; time.sleep(float(sys.argv[1]));"
    "pathlib.Path(sys.argv[2]).write_text(sys.argv[3])"
)
RESULT = {"status": "ok", "metrics": {"mAP": {"value": 30.0, "unit": "percent", "n": 100}}}


class Quiet:
    """A watcher that is told everything and says nothing."""

    def started(self, job: Job, number: int, total: int) -> None: ...

    def waits(self, job: Job, number: int, total: int, *, holder: str) -> None: ...

    def again(self, job: Job, number: int, total: int, *, reason: str) -> None: ...

    def ended(
        self, job: Job, number: int, total: int, *, end: End, summary: str, took: str
    ) -> None: ...


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.set_defaults(rounds=1)
    parser.add_argument("--jobs", type=positive, default=16, help="default: 16")
    parser.add_argument("--nodes", type=positive, default=4, help="default: 4")
    parser.add_argument("--seconds", type=positive, default=20, help="of a job (default: 20)")
    arguments = parser.parse_args(argv)
    jobs, nodes, seconds = arguments.jobs, arguments.nodes, arguments.seconds
    ideal = -(-jobs // nodes) * float(seconds)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as folder:
        for number in range(arguments.rounds):
            rounds.append(measure(Path(folder) / str(number), jobs, nodes, seconds))
    took = min(found["seconds"] for found in rounds)
    print(f"{jobs} jobs of {seconds} s on {nodes} nodes: {took:.1f} s, ideal {ideal:.1f} s")
    report(
        "ray_executor", ratios={"ideal": ideal / took}, raw={"rounds": rounds}, file=arguments.json
    )


def measure(out: Path, jobs: int, nodes: int, seconds: float) -> dict[str, Any]:
    """Of one run: all, and until the cluster was known to fit."""
    from ray.cluster_utils import Cluster

    from eval.ray_executor import RayExecutor

    logging.getLogger("ray").setLevel(logging.ERROR)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
        },
    )
    try:
        for _ in range(nodes):
            cluster.add_node(wait=False, num_cpus=1, object_store_memory=STORE_BYTES)
        cluster.wait_for_nodes(120)
        layout = Layout(out)
        started = time.monotonic()
        executor = RayExecutor(layout, Quiet(), command="bench", address=str(cluster.address))
        connected = time.monotonic()
        try:
            outcome = executor.execute(sleeping(layout, jobs, seconds))
        finally:
            executor.close()
        ended = time.monotonic()
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
    if len(outcome.ends) != jobs or outcome.failed:
        raise SystemExit(f"jobs failed: {outcome.failed}")
    return {"seconds": ended - started, "connected_after": connected - started}


def sleeping(layout: Layout, jobs: int, seconds: float) -> Plan:
    """Jobs that sleep, and need nothing of each other."""
    (spec,) = parse_spec("scratch:resnet50d")

    def job(number: int) -> Job:
        work = layout.work / str(number)
        arguments = (str(seconds), str(work / "result.json"), json.dumps(RESULT))
        return Job(
            kind="detection",
            id=f"detection-{number}",
            spec=spec,
            seed=number,
            command=(sys.executable, "-c", JOB, *arguments),
            artifact=layout.artifacts / "none",
            work=work,
            result=work / "result.json",
            key=f"{number:016x}",
            lineage="a" * 16,
            benchmark="mini",
        )

    return Plan(
        benchmark="mini",
        tasks=("detection",),
        seeds=tuple(range(jobs)),
        rows=(spec,),
        jobs=tuple(job(number) for number in range(jobs)),
        cells=(),
    )


if __name__ == "__main__":
    main()
