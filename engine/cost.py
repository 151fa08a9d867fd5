"""What a network and a run cost: parameters, GMACs, seconds, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """All parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def gmacs(module: nn.Module, *, height: int = 224, width: int = 224) -> float:
    """1e9 multiply-adds of one RGB image. torch counts a multiply-add as two operations."""
    training = module.training
    parameter = next(module.parameters())
    with FlopCounterMode(display=False) as counter:
        module.eval()(torch.zeros(1, 3, height, width, device=parameter.device))
    module.train(training)
    return counter.get_total_flops() / 2 / 1e9


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@contextmanager
def stopwatch(cost: dict[str, float], name: str = "seconds") -> Iterator[None]:
    """Adds the wall-clock seconds of the block to cost[name]."""
    started = time.monotonic()
    try:
        yield
    finally:
        cost[name] = cost.get(name, 0.0) + time.monotonic() - started
