"""Reading other people's weights files, and fitting them to a model strictly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

MappingKind = Literal["by name", "by position"]

# Where training scripts put the state dict beside optimizer and epoch.
_WRAPPERS = ("state_dict", "model")
_KINDS = frozenset({"weight", "bias", "running_mean", "running_var"})
# Counts training steps of a batch normalization; without effect on any output.
_COUNTER = "num_batches_tracked"


class WeightsError(ValueError):
    """Weights that cannot be had, cannot be read or do not fit."""


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """What was read: the number of tensors, and how they were matched with the model's."""

    tensors: int
    mapping: MappingKind


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth, .pt or .bin file by name, in the file's order.

    Pickles are read with weights_only=True: one that would run code is refused. A state dict
    under the key "state_dict" or "model" is unwrapped. Raises WeightsError.
    """
    loaded = read_torch_file(path)
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{path} holds no state dict but a {type(loaded).__name__}")
    strange = [name for name, value in loaded.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"{path} holds more than tensors: {list_names(list(map(str, strange)))}")
    return {str(name): tensor for name, tensor in loaded.items()}


def read_torch_file(path: str | os.PathLike[str], *, map_location: Any = "cpu") -> Any:
    """What a .safetensors or torch file holds; as torch.load, but nothing in it can run code.

    Raises WeightsError naming the file: where it is missing, damaged, or a pickle of more than
    tensors and plain values. No environment variable changes that.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file {os.fspath(path)!r}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    # A damaged or hostile pickle raises whatever its bytes happen to lead to.
    except Exception as error:
        raise WeightsError(
            f"{path} is not read: expected a .safetensors file, or a torch file that holds only "
            f"tensors (anything else in a pickle could run code): {_first_line(error)}. Save its "
            "tensors alone, best with safetensors.torch.save_file"
        ) from error


def fit_state_dict(
    state: Mapping[str, Tensor], model_state: Mapping[str, Tensor], *, source: str
) -> tuple[dict[str, Tensor], MappingKind]:
    """`state` under the names of `model_state`, all of them, and how they were matched.

    By name where both have the same names; else by position, where both have equally many
    tensors with the same shapes in the same order and no tensor's last name part (weight, bias,
    running_mean, running_var) contradicts. Counters of batches may be missing: they have no
    effect. Raises WeightsError with the missing and unexpected keys; `source` names the weights.
    """
    given = {name: t for name, t in state.items() if not name.endswith(_COUNTER)}
    wanted = {name: t for name, t in model_state.items() if not name.endswith(_COUNTER)}
    counters = {name: t for name, t in model_state.items() if name.endswith(_COUNTER)}
    if set(given) == set(wanted):
        shapes = [
            f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in wanted
            if given[name].shape != wanted[name].shape
        ]
        if shapes:
            raise WeightsError(f"{source} does not fit, other shapes: {list_names(shapes)}")
        counters.update({name: t for name, t in state.items() if name in counters})
        return {**given, **counters}, "by name"
    mismatch = _first_mismatch(given, wanted)
    if mismatch is not None:
        missing = [name for name in wanted if name not in given]
        unexpected = [name for name in given if name not in wanted]
        raise WeightsError(
            f"{source} does not fit. Missing keys: {list_names(missing)}. Unexpected keys: "
            f"{list_names(unexpected)}. Nor does it fit by position: {mismatch}"
        )
    by_position = dict(zip(wanted, given.values(), strict=True))
    return {**by_position, **counters}, "by position"


def list_names(names: list[str], limit: int = 10) -> str:
    """At most `limit` of the names, and how many more there are."""
    if not names:
        return "none"
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def _first_mismatch(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Why the two cannot be matched by position, or None where they can."""
    if len(given) != len(wanted):
        return f"the file has {len(given)} tensors, the model {len(wanted)}"
    for (name, tensor), (target, expected) in zip(given.items(), wanted.items(), strict=True):
        kinds = {name.rpartition(".")[2], target.rpartition(".")[2]}
        if tensor.shape != expected.shape or (len(kinds) > 1 and kinds <= _KINDS):
            return (
                f"the file's {name} {tuple(tensor.shape)} meets the model's {target} "
                f"{tuple(expected.shape)}"
            )
    return None


def _first_line(error: Exception) -> str:
    """Of torch's long text only what is wrong, not its advice to turn the safety off."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "Unsupported" in line or "GLOBAL" in line), None)
    reason = said or (lines[0] if lines else "no reason given")
    return f"{type(error).__name__}: {reason.rstrip('.')}"
