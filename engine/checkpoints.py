"""Checkpoints that are whole or absent, hold plain tensors and numbers, and load without pickle."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint of the highest iteration in a work directory, or None."""
    found = {
        int(match.group(1)): path
        for path in Path(work_dir).glob("iter_*.pth")
        if (match := re.fullmatch(r"iter_(\d+)\.pth", path.name))
    }
    return found[max(found)] if found else None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


ELAPSED = "elapsed_seconds"


class PlainCheckpoint(Hook):
    """Strips what torch.load(weights_only=True) refuses: mmengine's histories and numpy scalars.

    Adds how long the run has trained, those parts before an interruption included.
    """

    priority = "VERY_LOW"

    def before_train(self, runner: Any) -> None:
        self.started = time.monotonic() - runner.seconds_before

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        hub = checkpoint["message_hub"]
        dropped = set(hub["log_scalars"])
        hub["log_scalars"] = {}
        hub["resumed_keys"] = {
            key: value for key, value in hub["resumed_keys"].items() if key not in dropped
        }
        elapsed = time.monotonic() - self.started
        hub["runtime_info"] = {**_plain(dict(hub["runtime_info"])), ELAPSED: elapsed}
