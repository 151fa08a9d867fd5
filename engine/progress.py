"""What a person sees of a training: a bar on a terminal, a few lines elsewhere; both with ETA."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from mmengine.hooks import Hook

_PLAIN_LINES = 10


def duration(seconds: float) -> str:
    """75 -> '1m15s'; 3700 -> '1h01m'."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return f"{hours}h{m:02d}m"
    return f"{m}m{s:02d}s" if m else f"{s}s"


class Progress(Hook):
    """Shows step, loss and the time left. label: what is trained, in words."""

    priority = "VERY_LOW"

    def __init__(self, label: str) -> None:
        self.label = label
        self.terminal = sys.stderr.isatty()

    def before_train(self, runner: Any) -> None:
        self.first, self.started = runner.iter, time.monotonic()
        if runner.iter:
            self._line(f"{self.label}: continues from step {runner.iter} of {runner.max_iters}")

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        done, total = batch_idx + 1, runner.max_iters
        interval = 10 if self.terminal else max(1, total // _PLAIN_LINES)
        if done % interval and done != total:
            return
        loss = outputs["loss"]
        loss = loss.item() if isinstance(loss, torch.Tensor) else float(loss)
        elapsed = time.monotonic() - self.started
        left = elapsed / (done - self.first) * (total - done)
        text = f"{self.label}: step {done}/{total}  loss {loss:.3f}"
        text += f"  {duration(left)} left" if done < total else f"  in {duration(elapsed)}"
        if self.terminal:
            width = 24
            filled = round(width * done / total)
            sys.stderr.write(f"\r\x1b[K  [{'=' * filled}{' ' * (width - filled)}] {text}")
            if done == total:
                sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        else:
            self._line(text)

    def after_train(self, runner: Any) -> None:
        if runner.iter < runner.max_iters:  # stopped early, by a hook
            if self.terminal:
                sys.stderr.write("\r\x1b[K")
            self._line(f"{self.label}: stopped at step {runner.iter} of {runner.max_iters}")

    @staticmethod
    def _line(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)
