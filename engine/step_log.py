"""What the log says of the steps: losses, learning rate, seconds; read when a line is written.

mmengine's own hooks read each loss in each step, for which a GPU has to be waited for, and copy a
history that grows with every step: over a long training the copying comes to take longer than the
steps.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook
from torch import Tensor


class StepLog(RuntimeInfoHook):
    """In place of mmengine's RuntimeInfoHook and IterTimerHook; the same values in the same lines.

    interval: steps from one line to the next. window: of how many last steps a line gives the
    mean. Losses stay where they were computed until then.
    """

    def __init__(self, *, interval: int, window: int) -> None:
        self.interval = interval
        self.outputs: deque[dict[str, Any]] = deque(maxlen=window)
        self.seconds: deque[tuple[float, float]] = deque(maxlen=window)
        """Of the data and of the whole step."""

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        self.first, self.started = runner.iter, time.perf_counter()
        self.last = self.started

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        runner.message_hub.update_info("iter", runner.iter)
        self.loaded = time.perf_counter()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        now = time.perf_counter()
        self.seconds.append((self.loaded - self.last, now - self.last))
        self.last = now
        # Detached: kept on, they would keep the whole graph.
        self.outputs.append(
            {
                name: value.detach() if isinstance(value, Tensor) else value
                for name, value in (outputs or {}).items()
            }
            | _gradient_norm(runner.optim_wrapper)
        )
        if (batch_idx + 1) % self.interval == 0:
            self._write(runner, batch_idx + 1)

    def _write(self, runner: Any, done: int) -> None:
        hub = runner.message_hub
        rates = runner.optim_wrapper.get_lr()
        columns = {f"train/{name}": [rate[0]] for name, rate in rates.items()}
        for name in self.outputs[-1]:
            columns[f"train/{name}"] = _numbers([o[name] for o in self.outputs if name in o])
        columns["train/data_time"] = [data for data, _ in self.seconds]
        columns["train/time"] = [whole for _, whole in self.seconds]
        for name, values in columns.items():
            hub.log_scalars.pop(name, None)  # of the line before
            for value in values:
                hub.update_scalar(name, value)
        each = (time.perf_counter() - self.started) / (done - self.first)
        hub.update_info("eta", each * (runner.max_iters - done))


def _gradient_norm(wrapper: Any) -> dict[str, Any]:
    norm = getattr(wrapper, "gradient_norm", None)
    return {} if norm is None else {"grad_norm": norm}


def _numbers(values: list[Any]) -> list[float]:
    """One reading of the device for all."""
    if all(isinstance(value, Tensor) for value in values):
        return torch.stack([value.float().reshape(()) for value in values]).tolist()
    return [float(value) for value in values]
