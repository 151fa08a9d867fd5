"""Batch normalization over the batch of all processes, on the CPU too.

torch's SyncBatchNorm computes on GPUs only. On the CPU this one brings the shares' counts, means
and variances together (Chan et al. 1979), and in the backward pass the two sums of its gradient
(Ioffe and Szegedy 2015, arXiv:1502.03167, section 3), so that N processes equal one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from engine.processes import world_size
from engine.shared_batch import is_shared


def over_all_processes(model: nn.Module) -> None:
    """Synchronizes the batch normalizations inside a model; their tensors stay the same objects."""
    from timm.layers import convert_sync_batchnorm
    from timm.layers.norm_act import SyncBatchNormAct

    convert_sync_batchnorm(model)  # torch's own would lose the activations of timm's layers

    class ActivatedGlobalBatchNorm(SyncBatchNormAct, GlobalBatchNorm):
        pass

    for module in model.modules():
        if isinstance(module, SyncBatchNormAct):
            module.__class__ = ActivatedGlobalBatchNorm
        elif isinstance(module, nn.SyncBatchNorm):
            module.__class__ = GlobalBatchNorm


def learns_per_process(model: nn.Module) -> bool:
    """Whether the model holds statistics that it learns from one process's share of each batch."""
    model.train()  # frozen ones stay in evaluation mode
    return any(
        isinstance(module, _BatchNorm) and module.training
        for module in model.modules()
        if not isinstance(module, nn.SyncBatchNorm)
    )


class GlobalBatchNorm(nn.SyncBatchNorm):
    """torch's SyncBatchNorm, on the CPU too; plain where the batch is not shared."""

    def forward(self, values: Tensor) -> Tensor:
        if self.training and is_shared() and values.device.type != "cpu":
            return super().forward(values)
        self._check_input_dim(values)
        from_batch = self.training or self.running_mean is None
        if not (self.training and is_shared()):
            momentum = self._count_batch() if self.training else 0.0
            return batch_norm(
                values,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                from_batch,
                momentum,
                self.eps,
            )
        count, mean, variance = _global_statistics(values.detach())
        if self.running_mean is not None and self.running_var is not None:
            momentum = self._count_batch()
            unbiased = variance * (count / (count - 1))
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        normalized: Tensor = _Normalized.apply(
            values, self.weight, self.bias, mean, variance, count, self.eps
        )
        return normalized

    def _count_batch(self) -> float:
        """The share of this batch in the running statistics."""
        if self.num_batches_tracked is None:
            return 0.0 if self.momentum is None else self.momentum
        self.num_batches_tracked.add_(1)
        return 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


def _global_statistics(values: Tensor) -> tuple[float, Tensor, Tensor]:
    """How many values a channel has in all processes, and their mean and biased variance (C,)."""
    values = values.float()
    variance, mean = torch.var_mean(values, dim=_all_but_channels(values), correction=0)
    count = torch.full_like(mean[:1], values.numel() / values.shape[1])
    mine = torch.cat([count, mean, variance])
    parts = [torch.empty_like(mine) for _ in range(world_size())]
    distributed.all_gather(parts, mine)
    found = torch.stack(parts).double()
    counts, means, variances = found.split([1, len(mean), len(mean)], dim=1)
    total = counts.sum()
    global_mean = (counts * means).sum(0) / total
    squares = counts * (variances + (means - global_mean) ** 2)
    return total.item(), global_mean.float(), (squares.sum(0) / total).float()


def _all_but_channels(values: Tensor) -> list[int]:
    return [0, *range(2, values.ndim)]


class _Normalized(torch.autograd.Function):
    """(values - mean) / deviation * weight + bias; its gradient knows that the statistics are of
    the values of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: float,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        return batch_norm(values, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, variance = ctx.saved_tensors
        dims, shape = _all_but_channels(values), [1, -1, *[1] * (values.ndim - 2)]
        scale = (variance + ctx.eps).rsqrt()
        (gradient,) = gradients
        upstream = gradient.float()
        unit = (values.float() - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = upstream.sum(dims), (upstream * unit).sum(dims)
        sums = torch.stack([of_bias, of_weight])
        distributed.all_reduce(sums)
        by_mean, by_variance = (sums / ctx.count).unbind()
        inner = upstream - by_mean.view(shape) - unit * by_variance.view(shape)
        factor = scale if weight is None else scale * weight
        of_values = (inner * factor.view(shape)).to(values.dtype)
        if weight is None:
            return of_values, None, None, None, None, None, None
        return of_values, of_weight, of_bias, None, None, None, None
