"""Out of memory: how much a batch needs, how much there is, and which batch would fit."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from engine.machine_limits import memory_left, memory_of_machine

Batch = Mapping[str, Any]
"""Tensors or lists that all have an entry for each image."""

_CPU_MESSAGES = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough")

_TRANSIENT = 5
"""Times the largest tensor that is kept: its gradient, that of what it was made from, and copies
of the three in the layout that a convolution prefers."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says so: torch has a class of its own on GPUs only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes of one training step. image: for each image of the batch; fixed: for the weights,
    their gradients, the optimizer's state and what does not grow with the batch; available: for
    all of these together."""

    image: int
    fixed: int
    available: int

    def of(self, images: int) -> int:
        return self.fixed + images * self.image

    @property
    def fitting(self) -> int:
        """The largest batch that fits, in images."""
        return max(0, (self.available - self.fixed) // max(1, self.image))


def measure(model: nn.Module, batch: Batch, optim_wrapper: Any, *, smallest: int = 1) -> Need:
    """What a step needs, by the slope between two small parts of a batch that did not fit.

    smallest: images of the smaller part. Leaves the model's running statistics changed and no
    gradients behind. Raises what the model raises where not even the smaller part fits.
    """
    model = model.module if is_model_wrapper(model) else model  # type: ignore[assignment]
    less, more = smallest, min(2 * smallest, images_of(batch))
    peak = _peak_on_gpu if torch.cuda.is_available() else _peak_on_cpu
    first = peak(model, part_of(batch, 0, less), optim_wrapper)
    slope = first // less
    try:
        if more > less:
            second = peak(model, part_of(batch, 0, more), optim_wrapper)
            slope = (second - first) // (more - less)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    optimizer = optim_wrapper.optimizer
    there, missing = _fixed(model, optimizer)
    return Need(
        image=slope,
        fixed=max(0, first - slope * less) + there + missing,
        available=available_memory() + there,
    )


def images_of(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def part_of(batch: Batch, start: int, stop: int) -> dict[str, Any]:
    """Some of the images of a batch."""
    return {key: value[start:stop] for key, value in batch.items()}


def step_loss(model: Any, batch: Batch, optim_wrapper: Any) -> Tensor:
    """What a training step minimizes."""
    with optim_wrapper.optim_context(model):
        data = model.data_preprocessor(batch, True)
        loss: Tensor = model.parse_losses(model._run_forward(data, mode="loss"))[0]
    return loss


def _peak_on_gpu(model: nn.Module, batch: Batch, optim_wrapper: Any) -> int:
    """Measured; gradients excluded, which do not grow with the batch."""
    gradients = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step_loss(model, batch, optim_wrapper).backward()
    peak = torch.cuda.max_memory_allocated() - before
    optim_wrapper.zero_grad()
    return max(0, peak - gradients)


def _peak_on_cpu(model: nn.Module, batch: Batch, optim_wrapper: Any) -> int:
    """What the forward pass keeps for the backward pass, and what that needs for a while."""
    inputs = [item for value in batch.values() for item in value if isinstance(item, Tensor)]
    there = [*model.parameters(), *model.buffers(), *inputs]
    known = {tensor.untyped_storage().data_ptr() for tensor in there}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        step_loss(model, batch, optim_wrapper)
    return sum(kept.values()) + _TRANSIENT * max(kept.values(), default=0)


def _fixed(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    """Bytes of weights, gradients and optimizer state: that are there, and that will be."""
    weights = sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
    learned = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    state = sum(
        value.nbytes
        for values in optimizer.state.values()
        for value in values.values()
        if isinstance(value, Tensor)
    )
    if state:
        return weights + state, learned
    # Not made before the first step: Adam's kin keeps two averages, SGD at most one.
    defaults = optimizer.defaults
    averages = 2 if "betas" in defaults else int(bool(defaults.get("momentum")))
    return weights, learned * (1 + averages)


def available_memory() -> int:
    """Bytes that this process could still take: of its GPU, or of the machine's memory, of the
    container's, and of the limit on its addresses (`ulimit -v`), the least."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        return int(free)
    _give_back()
    found = [memory_of_machine().get("MemAvailable"), memory_left(), _address_space()]
    return max(0, min(value for value in found if value is not None))


def _give_back() -> None:
    """Returns to the system what the C library keeps of what was freed."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _address_space() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def in_words(size: int) -> str:
    """1536 MiB -> '1.5 GiB'."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
