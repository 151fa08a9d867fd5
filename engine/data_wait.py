"""How long a training waited for its data, and how many data workers would end that."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

NAMED_ABOVE = 0.10
"""Share of the time from which on a reader is told of it."""

NO_CORE_ABOVE = 1 / 3
"""The same where no core is left for a worker: there is little to be done about it."""

LEAST_SECONDS = 1.0
"""A shorter wait is not worth a word."""

FIRST_STEPS = 5
"""Not counted: workers start, and the queue is empty."""


@dataclass(frozen=True, kw_only=True)
class _OnGPU:
    """A step that was handed to the GPU. waited: seconds for its batch; before, begun, ended: the
    events at which the GPU was done with the step before, began this one and was done with it."""

    waited: float
    before: Any
    begun: Any
    ended: Any

    def seconds(self) -> tuple[float, float]:
        """In which the GPU waited for the batch, and in which it computed."""
        first = self.before is None
        idle = self.waited if first else self.before.elapsed_time(self.begun) / 1000
        return min(self.waited, idle), self.begun.elapsed_time(self.ended) / 1000


class DataWait:
    """Takes the batches of a training out of its stream, and measures.

    On a GPU its own clock counts: of a wait only that in which it had nothing to do, of a step
    not the time in which it was handed over. Steps are counted once the GPU is done with them,
    for which nothing waits. workers: data workers; cores: that they and the arithmetic may use.
    """

    def __init__(self, *, workers: int, cores: float) -> None:
        self.workers, self.cores = workers, cores
        self.waited = self.computed = 0.0
        self.epoch_waited = self.epoch_computed = 0.0
        self.steps = 0
        self._handed_out: float | None = None
        self._waited = 0.0
        self._begun: Any = None
        self._ended: Any = None
        self._on_gpu: deque[_OnGPU] = deque()

    def next_of(self, stream: Iterator[Any]) -> Any:
        """The next batch. Between this and `step_ends` the training computes."""
        started = time.perf_counter()
        batch = next(stream)
        self._handed_out = time.perf_counter()
        self._waited = self._handed_out - started
        self._begun = _event()
        return batch

    def step_ends(self) -> None:
        """To be called once the work on the last batch is done, or is under way on the GPU."""
        if self._handed_out is None:
            return
        computed = time.perf_counter() - self._handed_out
        self._handed_out = None
        if self._begun is None:
            self._count(self._waited, computed)
            return
        before, self._ended = self._ended, _event()
        self._on_gpu.append(
            _OnGPU(waited=self._waited, before=before, begun=self._begun, ended=self._ended)
        )
        while self._on_gpu and self._on_gpu[0].ended.query():
            self._count(*self._on_gpu.popleft().seconds())

    def _count(self, waited: float, computed: float) -> None:
        self.epoch_waited += waited
        self.epoch_computed += computed
        if self.steps >= FIRST_STEPS:
            self.waited += waited
            self.computed += computed
        self.steps += 1

    @property
    def share(self) -> float | None:
        """Of the time of all steps but the first, in [0, 1]; None before they are done."""
        return _share(self.waited, self.computed)

    def end_of_epoch(self) -> float | None:
        """The share of the epoch that ends, and a new one begins."""
        share = _share(self.epoch_waited, self.epoch_computed)
        self.epoch_waited = self.epoch_computed = 0.0
        return share

    @property
    def wanted_workers(self) -> int:
        """With so many, a batch would be loaded in the time in which one is computed."""
        if self.waited <= 0 or self.computed <= 0:
            return self.workers
        # Without workers the wait is the loading. n workers, always at it, deliver a batch in each
        # step, so that one of them takes as long as n steps.
        loading = self.waited if self.workers == 0 else self.workers * (self.waited + self.computed)
        return max(self.workers + 1, math.ceil(loading / self.computed))

    def note(self, setting: str) -> str | None:
        """What a reader should know; None where there is nothing. setting: where the user says how
        many workers there are."""
        share = self.share
        if share is None or share <= NAMED_ABOVE or self.waited < LEAST_SECONDS:
            return None
        text = f"waited for data {100 * share:.0f}% of the time"
        free = max(0, math.floor(self.cores) - 1)
        wanted = self.wanted_workers
        if wanted <= free:
            return f"{text}; {setting} = {wanted} would cure it (now {self.workers})"
        if free > self.workers:
            return (
                f"{text}; {setting} = {wanted} would cure it (now {self.workers}), for which there "
                f"are too few cores ({self.cores:g}): {free} would help"
            )
        if share <= NO_CORE_ABOVE:
            return None
        return (
            f"{text}; {setting} = {wanted} would cure it (now {self.workers}), on more cores than "
            f"the {self.cores:g} that this job may use"
        )


def _event() -> Any:
    """A mark in what the GPU is to do; None without one."""
    if not torch.cuda.is_available():
        return None
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _share(waited: float, computed: float) -> float | None:
    return waited / (waited + computed) if waited + computed > 0 else None
