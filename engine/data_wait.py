"""How long a training waited for its data, and how many data workers would end that."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
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


class DataWait:
    """Takes the batches of a training out of its stream, and measures.

    A wait in which the GPU still worked on the step before is none. workers: data workers;
    cores: that they and the arithmetic may use.
    """

    def __init__(self, *, workers: int, cores: float) -> None:
        self.workers, self.cores = workers, cores
        self.waited = self.computed = 0.0
        self.epoch_waited = self.epoch_computed = 0.0
        self.steps = 0
        self._handed_out: float | None = None
        self._done: Any = None

    def next_of(self, stream: Iterator[Any]) -> Any:
        """The next batch. Between this and `step_ends` the training computes."""
        started = time.perf_counter()
        batch = next(stream)
        now = time.perf_counter()
        busy = self._done is not None and not self._done.query()
        self._handed_out = now
        self._count(0.0 if busy else now - started, 0.0)
        return batch

    def step_ends(self) -> None:
        """To be called once the work on the last batch is done, or is under way on the GPU."""
        if self._handed_out is None:
            return
        self._count(0.0, time.perf_counter() - self._handed_out)
        self._handed_out = None
        self.steps += 1
        if torch.cuda.is_available():
            self._done = torch.cuda.Event()
            self._done.record()

    def _count(self, waited: float, computed: float) -> None:
        self.epoch_waited += waited
        self.epoch_computed += computed
        if self.steps >= FIRST_STEPS:
            self.waited += waited
            self.computed += computed

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


def _share(waited: float, computed: float) -> float | None:
    return waited / (waited + computed) if waited + computed > 0 else None
