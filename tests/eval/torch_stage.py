"""A pretraining that never ends: a data loader with two worker processes and shared memory.

FAKE_CALLS names a file; beside it `calls.pid` gets the numbers of its processes once it is in its
steps.
"""

import os
import sys
import time
from pathlib import Path

from engine.interruption import outlive_signals, step_in_hand
from engine.stage import run_stage


def main(argv: list[str] | None) -> None:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    shared = torch.zeros(4096, 3, 32, 32).share_memory_()
    loader = DataLoader(
        TensorDataset(shared), batch_size=16, num_workers=2, worker_init_fn=outlive_signals
    )
    try:
        while True:
            batches = iter(loader)
            for step in range(len(loader)):
                with step_in_hand():
                    (batch,) = next(batches)
                    shared += batch.sum()
                    time.sleep(0.005)
                if step == 0:
                    workers = [worker.pid for worker in batches._workers]
                    with open(Path(os.environ["FAKE_CALLS"]).with_suffix(".pid"), "a") as file:
                        file.write(" ".join(map(str, [os.getpid(), *workers])) + "\n")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)  # also where nobody reads it any more
        raise


if __name__ == "__main__":
    sys.exit(run_stage(main))
