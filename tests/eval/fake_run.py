"""`run_transfer.py` with the fake stage in place of the four programs, data that is there, and a
report whose plots are empty.

FAKE_NO_FLOCK: the file system has no flock. FAKE_HEIR_SECONDS: how long a dead run's jobs may live.
FAKE_PRETRAINING: another program for that. FAKE_CLUSTER: what `--executor slurm` sends jobs to.
"""

import errno
import fcntl
import os
import sys
import types
from types import SimpleNamespace

from engine import locks
from eval import errand, jobs, slurm_executor
from eval.cli import transfer_main

DIGESTS = dict.fromkeys(("pretraining", "detection", "segmentation", "finetune"), "d" * 64)

prepare = types.ModuleType("benchmarks.prepare")
prepare.ensure_ready = prepare.find_ready = lambda benchmark, **_: SimpleNamespace(
    benchmark=benchmark, digests=DIGESTS
)

plots = types.ModuleType("eval.page.plots")
plots.plot_svg = lambda plot, *, prefix: "<svg></svg>"


def no_flock(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


if __name__ == "__main__":
    if "FAKE_NO_FLOCK" in os.environ:
        fcntl.flock = no_flock
    locks.HEIR_SECONDS = float(os.environ.get("FAKE_HEIR_SECONDS", locks.HEIR_SECONDS))
    sys.modules["benchmarks.prepare"] = prepare
    sys.modules["eval.page.plots"] = plots
    errand.SAME_EVERYWHERE += [name for name in os.environ if name.startswith("FAKE_")]
    slurm_executor.CLUSTER = os.environ.get("FAKE_CLUSTER", slurm_executor.CLUSTER)
    jobs.MODULES.update(dict.fromkeys(jobs.MODULES, "fake_stage"))
    if "FAKE_PRETRAINING" in os.environ:
        jobs.MODULES["classification"] = os.environ["FAKE_PRETRAINING"]
    sys.exit(transfer_main())
