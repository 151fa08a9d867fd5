"""Several processes train one model: each takes its share of every batch, all hold the same.

What they compute is what one process does with the whole batch; but for batch normalization where
it is asked to see the share of its own process alone, as in the papers of its time.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine.processes import local_rank, world_size
from engine.shared_batch import draw_for_all
from engine.sync_batch_norm import over_all_processes

BatchNorm = Literal["per_process", "global"]
"""Whether batch normalization sees one process's share of a batch, or the batch."""


def parallel(model: nn.Module, *, batch_norm: BatchNorm) -> nn.Module:
    """The model on this process's device, its gradients averaged over all processes."""
    device = get_device()
    gpus = None if device == "cpu" else [local_rank()]
    model = model.to(device)
    with warnings.catch_warnings():
        # Its successor is younger than the oldest torch that we run on.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        wrapped: nn.Module = MMDistributedDataParallel(
            model, device_ids=gpus, broadcast_buffers=False
        )
    draw_for_all(model)
    if batch_norm == "global":  # not before: DDP knows torch's alone, and refuses it on a CPU
        over_all_processes(model)
    return wrapped


class SameEverywhere(Hook):
    """After each step all processes have the same running statistics and see the same losses.

    So it does not matter whose checkpoint is kept, and all decide alike whether the loss is lost.
    The losses that other hooks get are the means over all processes.
    """

    priority = "HIGHEST"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        average_losses(outputs)
        average_running_statistics(runner.model)


def average_losses(outputs: dict[str, Any]) -> None:
    """Puts the means over all processes in the place of this one's."""
    losses = {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}
    means = torch.stack([value.detach().double() for value in losses.values()])
    distributed.all_reduce(means)
    for (name, value), mean in zip(losses.items(), means / world_size(), strict=True):
        outputs[name] = mean.to(value.dtype)


def average_running_statistics(model: nn.Module) -> None:
    """Of the batch normalizations that learn them: what is frozen must keep its bits."""
    statistics = [
        buffer
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
        if not isinstance(module, nn.SyncBatchNorm)  # all have the same already
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
    if not statistics:
        return
    joined = torch.cat(statistics)
    distributed.all_reduce(joined)
    joined /= world_size()
    for buffer, mean in zip(statistics, joined.split([len(b) for b in statistics]), strict=True):
        buffer.copy_(mean)


def anyone(flag: bool) -> bool:
    """Whether the flag of at least one process is set."""
    flags = torch.tensor([float(flag)], device=get_device())
    distributed.all_reduce(flags)
    return bool(flags.item())


def require_same_step(step: int) -> None:
    """ValueError where the processes would go on from different steps."""
    mine = torch.tensor([step], device=get_device())
    steps = [torch.zeros_like(mine) for _ in range(world_size())]
    distributed.all_gather(steps, mine)
    found = [int(other) for other in steps]
    if len(set(found)) > 1:
        raise ValueError(
            f"the {len(found)} processes would go on from the steps {', '.join(map(str, found))}: "
            "the work directory must be one folder that all machines see, its checkpoints the same"
        )
