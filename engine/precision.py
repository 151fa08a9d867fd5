"""Number formats of the training step: float32, bfloat16 by autocast, float16 with loss scaling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn

from engine.fast_paths import is_fast

Precision = Literal["float32", "bfloat16", "float16"]

_OVERFLOWED = "overflowed_steps"
_KERNELS = ("fused", "foreach")
"""What torch's optimizers call the ways to compute one and the same step."""


class StepOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper that does not wait for the gradients' norm: it is kept, not read.

    gradient_norm: of the last step, before it was clipped; None where nothing is clipped.
    """

    gradient_norm: Tensor | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.optimizer.register_step_pre_hook(_in_the_layout_of_the_weights)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As mmengine's, but the optimizer computes as it was built to, not as the one that was
        saved: the loss scaler relies on it, and torch puts the state where these kernels want it.
        """
        groups = [
            {**saved, **{name: own[name] for name in _KERNELS if name in own}}
            for saved, own in zip(
                state_dict["param_groups"], self.optimizer.param_groups, strict=True
            )
        ]
        super().load_state_dict({**state_dict, "param_groups": groups})

    def _clip_grad(self) -> None:
        if not is_fast("unread_losses"):
            super()._clip_grad()
            return
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group["params"] if p.grad is not None]
        if parameters:
            self.gradient_norm = self.clip_func(parameters, **self.clip_grad_kwargs)


class HalfOptimWrapper(StepOptimWrapper, AmpOptimWrapper):
    """mmengine's AmpOptimWrapper on the CPU too: autocast, and for float16 a loss scale.

    The optimizer's weights stay float32 (Micikevicius et al. 2018, arXiv:1710.03740). loss_scale:
    a fixed factor on the loss, or "dynamic": halved where a gradient is not finite, whose step is
    left out, and doubled after 2000 steps without. overflowed_steps: how many were left out.
    """

    def __init__(
        self,
        *,
        precision: Literal["bfloat16", "float16"],
        loss_scale: float | Literal["dynamic"] = "dynamic",
        **options: Any,
    ) -> None:
        OptimWrapper.__init__(self, **options)  # AmpOptimWrapper's own refuses a CPU
        self.optimizer.register_step_pre_hook(_in_the_layout_of_the_weights)
        self.cast_dtype = getattr(torch, precision)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        fixed = None if loss_scale == "dynamic" else float(loss_scale)
        self._scale_update_param = fixed
        self.loss_scaler = torch.amp.GradScaler(
            self.device,
            init_scale=2.0**16 if fixed is None else fixed,
            enabled=precision == "float16",  # bfloat16 has the range of float32
        )
        self._overflowed: Tensor | int = 0

    @property
    def overflowed_steps(self) -> int:
        """Reads them from the device."""
        return int(self._overflowed)

    def step(self, **options: Any) -> None:
        scaler = self.loss_scaler
        if self.clip_grad_kwargs:
            scaler.unscale_(self.optimizer)
            self._clip_grad()
        scaler.step(self.optimizer, **options)
        if scaler.is_enabled():
            # The scaler forgets it in `update`. Added up where it lies: reading it would wait.
            found = scaler._per_optimizer_states[id(self.optimizer)]["found_inf_per_device"]
            self._overflowed = self._overflowed + sum(found.values())
        scaler.update(self._scale_update_param)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), _OVERFLOWED: self.overflowed_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._overflowed = state_dict.get(_OVERFLOWED, 0)  # none in another format
        super().load_state_dict({k: v for k, v in state_dict.items() if k != _OVERFLOWED})

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with (
            OptimWrapper.optim_context(self, model),
            torch.autocast(self.device, self.cast_dtype),
        ):
            yield


def _in_the_layout_of_the_weights(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Gradients and averages of fused kernels lie in memory as their weights do.

    On the CPU these kernels (torch 2.14's SGD, Adam) go through all of them as they lie, and would
    take one weight's gradient for another's without a word: where a resumed average or the first
    gradient of several processes lies otherwise.
    """
    for group in optimizer.param_groups:
        if not group.get("fused"):
            continue
        for weight in group["params"]:
            if weight.grad is None or weight.ndim < 4:
                continue
            if weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)
            state = optimizer.state.get(weight, {})
            for name, value in state.items():
                if (
                    isinstance(value, Tensor)
                    and value.shape == weight.shape
                    and value.stride() != weight.stride()
                ):
                    state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def overflowed_steps(wrapper: OptimWrapper) -> int | None:
    """How many steps were left out because a float16 gradient overflowed; None: another format."""
    scaled = isinstance(wrapper, HalfOptimWrapper) and wrapper.loss_scaler.is_enabled()
    return wrapper.overflowed_steps if scaled else None


def supported_half() -> Precision:
    """The half format that there are instructions for: float16 on CUDA, bfloat16 on some CPUs;
    else float32, since emulated bfloat16 is slower."""
    if torch.cuda.is_available():
        return "float16"
    # torch has no public query for these instructions yet.
    if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported():
        return "bfloat16"
    return "float32"


def optim_wrapper(
    optimizer: torch.optim.Optimizer | dict[str, Any],
    *,
    precision: Precision = "float32",
    loss_scale: float | Literal["dynamic"] = "dynamic",
    accumulate: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """mmengine's configuration of an optimizer step.

    loss_scale: of float16. accumulate: micro-batches per step; options: mmengine's (clip_grad,
    paramwise_cfg).
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, not {accumulate}")
    common = dict(optimizer=optimizer, accumulative_counts=accumulate, **options)
    if precision == "float32":
        return dict(type=StepOptimWrapper, **common)
    return dict(type=HalfOptimWrapper, precision=precision, loss_scale=loss_scale, **common)
