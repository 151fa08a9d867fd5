"""Which mAP and mIoU does a pretrained backbone reach, beside its control from random weights?

    python eval/run_transfer.py --backbone resnet50d_mixup [--benchmark mini] [--seeds 0 1 2]

From any directory, installed or not; `trickle run` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the packages lie one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from eval.cli import transfer_main

if __name__ == "__main__":
    sys.exit(transfer_main())
