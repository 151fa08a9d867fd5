"""Folds batch normalizations into the convolutions before them, for networks that only predict."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

# Largest deviation of the folded network, in float64 and relative to the largest output.
TOLERANCE = 1e-8


def fold_batch_norm(network: nn.Module, images: Tensor) -> tuple[nn.Module, int]:
    """A copy of the network in eval mode without its foldable norms, and how many were folded.

    In eval mode a batch normalization is affine, so that the convolution before it can do its work:
    w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta. A pair is found
    by watching the network on `images` (B, 3, H, W): a convolution that runs once and whose output
    goes into a normalization and nowhere else. So it needs no symbolic trace, and serves
    networks whose forward branches. Folding is done and proved on `images` in float64; a network
    that differs (a layer that computes its weights, say) is dropped, and the copy that comes back
    is unfolded.
    """
    original = copy.deepcopy(network).eval()
    folded = copy.deepcopy(original).double()
    pairs = _foldable(original, images)
    for convolution, norm in pairs:
        before, after = folded.get_submodule(convolution), folded.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        _replace(folded, convolution, fuse_conv_bn_eval(before, after))
        _replace(folded, norm, _what_remains(after))
    if not pairs or not _same_function(copy.deepcopy(original).double(), folded, images.double()):
        return original, 0
    return folded.float(), len(pairs)


def output_layer(network: nn.Module, images: Tensor) -> str | None:
    """The name of the linear layer whose output is the network's, if it is one."""
    seen: list[tuple[str, Any]] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.append((name, output)))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad():
            output = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return next((name for name, made in seen if made is output), None)


class _Uses(TorchFunctionMode):
    """Counts for each tensor by how many operations it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self._alive: list[Tensor] = []  # so that no two tensors have the same id

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # What gives no tensor (shape, dim) only asks about one.
        if any(True for _ in _tensors(result)):
            for tensor in _tensors((args, kwargs)):
                self.count[id(tensor)] += 1
                self._alive.append(tensor)
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _foldable(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and the normalizations that follow them."""
    made: dict[int, tuple[str, Tensor]] = {}  # by the id of a convolution's output
    follows: list[tuple[str, str, Tensor]] = []
    runs: Counter[str] = Counter()

    def after_convolution(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            runs[name] += 1
            made[id(output)] = name, output

        return hook

    def before_norm(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            runs[name] += 1
            if id(inputs[0]) in made:
                convolution, output = made[id(inputs[0])]
                follows.append((convolution, name, output))

        return hook

    hooks = []
    for name, module in network.named_modules():
        # Subclasses may compute their weights (weight standardization) or pad on their own.
        if type(module) is nn.Conv2d:
            hooks.append(module.register_forward_hook(after_convolution(name)))
        elif _is_affine_norm(module):
            hooks.append(module.register_forward_pre_hook(before_norm(name)))
    try:
        with torch.no_grad(), _Uses() as uses:
            network(images)
    finally:
        for handle in hooks:
            handle.remove()
    return [
        (convolution, norm)
        for convolution, norm, output in follows
        if runs[convolution] == runs[norm] == 1 and uses.count[id(output)] == 1
    ]


def _is_affine_norm(module: nn.Module) -> bool:
    from timm.layers import BatchNormAct2d

    return type(module) in (nn.BatchNorm2d, BatchNormAct2d) and module.running_mean is not None


def _what_remains(norm: nn.Module) -> nn.Module:
    """Of timm's normalization with activation its other half, of the plain one nothing."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


def _same_function(original: nn.Module, folded: nn.Module, images: Tensor) -> bool:
    try:
        with torch.no_grad():
            expected, found = original(images), folded(images)
    except RuntimeError:  # it makes float32 tensors of its own, and cannot be proved in float64
        return False
    pairs = zip(_tensors(expected), _tensors(found), strict=True)
    return all(bool((a - b).abs().max() <= TOLERANCE * a.abs().max()) for a, b in pairs)
