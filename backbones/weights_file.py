"""Reading other people's weights files, and fitting them to a model strictly."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

MappingKind = Literal["by name", "by position"]

# Where training scripts put the state dict beside optimizer and epoch, the first that is there.
_WRAPPERS = ("state_dict", "model", "model_ema", "state_dict_ema", "teacher")
# What wrappers of modules put before the names, one or several of them.
_PREFIXES = ("module.", "backbone.", "encoder.", "model.", "_orig_mod.")
# First parts of the names of classifiers: these tensors of a file may be left out.
_HEADS = frozenset(
    {"fc", "head", "heads", "head_dist", "classifier", "last_linear", "linear"}
    | {"aux", "auxiliary", "AuxLogits"}
)
_ZIP, _PICKLE = b"PK", b"\x80"  # how files of torch.save begin, and those before torch 1.6
_KINDS = frozenset({"weight", "bias", "running_mean", "running_var"})
# Counts of training steps, of batch normalizations and of averaged weights; without effect on any
# output.
_COUNTERS = ("num_batches_tracked", "n_averaged")


class WeightsError(ValueError):
    """Weights that cannot be had, cannot be read or do not fit."""


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """What was read, and how it was matched with the model's tensors.

    tensors: how many the file has. wrapper: the key of the file that they lay under. prefix: what
    their names had before the model's. left: names of a classifier's tensors that were left out.
    without_classifier: whether the file has none that the model knows. published: what the one who
    gives the weights says of them (tag, licence, image size, ...).
    """

    tensors: int
    mapping: MappingKind
    wrapper: str | None = None
    prefix: str = ""
    left: tuple[str, ...] = ()
    without_classifier: bool = False
    published: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = [f"{self.tensors - len(self.left)} of {self.tensors} tensors matched {self.mapping}"]
        if self.wrapper is not None:
            said.append(f"under {self.wrapper!r}")
        if self.prefix:
            said.append(f"without the prefix {self.prefix!r}")
        if self.left:
            said.append(f"left out, a classifier: {list_names(list(self.left))}")
        elif self.without_classifier:
            said.append("no classifier")
        return ", ".join(said)


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The tensors of a file by name, in its order; wrapper: the key that they lay under."""

    tensors: dict[str, Tensor]
    wrapper: str | None


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth, .pt or .bin file by name; see `read_weights_file`."""
    return read_weights_file(path).tensors


def read_weights_file(path: str | os.PathLike[str]) -> WeightsFile:
    """Reads a .safetensors, .pth, .pt or .bin file.

    Pickles are read with weights_only=True: one that would run code is refused. A state dict
    under "state_dict", "model", "model_ema", "state_dict_ema" or "teacher" (the first of them that
    is there) is unwrapped. Raises WeightsError.
    """
    loaded = read_torch_file(path)
    wrapper = None
    if isinstance(loaded, Mapping):
        found = (key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping))
        wrapper = next(found, None)
        loaded = loaded if wrapper is None else loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{path} holds no state dict but a {type(loaded).__name__}")
    strange = [name for name, value in loaded.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"{path} holds more than tensors: {list_names(list(map(str, strange)))}")
    return WeightsFile(tensors={str(n): t for n, t in loaded.items()}, wrapper=wrapper)


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
        if (reason := _no_tensors(path)) is not None:
            raise WeightsError(f"{path} is not read: {reason}") from error
        raise WeightsError(
            f"{path} is not read: expected a .safetensors file, or a torch file that holds only "
            f"tensors (anything else in a pickle could run code): {_first_line(error)}. Save its "
            "tensors alone, best with safetensors.torch.save_file"
        ) from error


def fit_state_dict(
    state: Mapping[str, Tensor],
    model_state: Mapping[str, Tensor],
    *,
    source: str,
    classifiers: Iterable[str] = (),
    wrapper: str | None = None,
) -> tuple[dict[str, Tensor], ImportedWeights]:
    """`state` under the names of `model_state`, all of them, and how they were matched.

    By name, where need be without "module.", "backbone." and the like before it; what else the
    file has may only be a classifier (fc.weight, head.bias, ...). Where not one name is the
    model's, by position: both have equally many tensors with the same shapes in the same order, and
    the last part of every two names is the same of weight, bias, running_mean and running_var: a
    normalization's gamma and beta have one shape. Counters of batches may be missing: they have no
    effect.

    source: names the weights in messages. classifiers: modules of the model that the file may lack
    (each wholly); they are then missing in the result, too. Raises WeightsError with the missing
    and unexpected keys and with both shapes where they differ.
    """
    wanted = {name: t for name, t in model_state.items() if not name.endswith(_COUNTERS)}
    counters = {name: t for name, t in model_state.items() if name.endswith(_COUNTERS)}
    prefix = _best_prefix(state, wanted)
    named = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    given = {name: t for name, t in named.items() if not name.endswith(_COUNTERS)}
    beside = [k for k in state if not k.startswith(prefix) and not k.endswith(_COUNTERS)]

    if not any(name in wanted for name in given):
        every = {k: t for k, t in state.items() if not k.endswith(_COUNTERS)}
        mismatch = _first_mismatch(every, wanted)
        if mismatch is None:
            by_position = dict(zip(wanted, every.values(), strict=True))
            imported = ImportedWeights(tensors=len(state), mapping="by position", wrapper=wrapper)
            return {**by_position, **counters}, imported
        raise WeightsError(
            f"{source} does not fit: no name is the model's. {_key('Missing', list(wanted))} "
            f"{_key('Unexpected', list(every))} Nor does it fit by position: {mismatch}"
        )

    lacking = {
        module for module in classifiers if not any(name.startswith(f"{module}.") for name in given)
    }
    absent = tuple(f"{module}." for module in lacking)
    missing = [name for name in wanted if name not in given and not name.startswith(absent)]
    surplus = [prefix + name for name in given if name not in wanted] + beside
    left = [k for k in surplus if without_prefixes(k).partition(".")[0] in _HEADS]
    unexpected = [k for k in surplus if k not in left]
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if missing or unexpected or shapes:
        fits = sum(name in given for name in wanted) - len(shapes)
        without = f" without the prefix {prefix!r}" if prefix else ""
        raise WeightsError(
            f"{source} does not fit: {fits} of the model's {len(wanted)} tensors do"
            f"{without}. {_key('Missing', missing)} {_key('Unexpected', unexpected)}"
            + (f" Other shapes ({len(shapes)}): {list_names(shapes)}." if shapes else "")
        )
    counters.update({name: t for name, t in named.items() if name in counters})
    result = {name: given[name] for name in wanted if name in given}
    imported = ImportedWeights(
        tensors=len(state),
        mapping="by name",
        wrapper=wrapper,
        prefix=prefix,
        left=tuple(left),
        without_classifier=bool(lacking),
    )
    return {**result, **counters}, imported


def without_prefixes(name: str) -> str:
    """A tensor's name without what wrappers of modules put before it."""
    while (found := next((p for p in _PREFIXES if name.startswith(p)), None)) is not None:
        name = name.removeprefix(found)
    return name


def list_names(names: list[str], limit: int = 10) -> str:
    """At most `limit` of the names, and how many more there are."""
    if not names:
        return "none"
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def _best_prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What, taken off the names, makes most of them the model's; of equally good ones the least."""
    prefixes = {""}
    for name in state:
        prefix, rest = "", name
        while (found := next((p for p in _PREFIXES if rest.startswith(p)), None)) is not None:
            prefix, rest = prefix + found, rest.removeprefix(found)
            prefixes.add(prefix)
    hits = {
        p: sum(k.startswith(p) and k.removeprefix(p) in wanted for k in state) for p in prefixes
    }
    return min(prefixes, key=lambda p: (-hits[p], len(p), p))


def _key(what: str, names: list[str]) -> str:
    count = f" ({len(names)})" if names else ""
    return f"{what} keys{count}: {list_names(names)}."


def _first_mismatch(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Why the two cannot be matched by position, or None where they can."""
    if len(given) != len(wanted):
        return f"the file has {len(given)} tensors, the model {len(wanted)}"
    for (name, tensor), (target, expected) in zip(given.items(), wanted.items(), strict=True):
        kind = target.rpartition(".")[2]
        alike = kind in _KINDS and name.rpartition(".")[2] == kind
        if tensor.shape != expected.shape or not alike:
            return (
                f"the file's {name} {tuple(tensor.shape)} meets the model's {target} "
                f"{tuple(expected.shape)}"
            )
    return None


def _no_tensors(path: Path) -> str | None:
    """Why a file that could not be read is none of tensors at all; None where it may be one."""
    size = path.stat().st_size
    measured = f"{size:,} byte{'s' * (size != 1)}"
    if path.suffix == ".safetensors":
        return f"it is no safetensors file, or a damaged one ({measured})"
    with path.open("rb") as file:
        start = file.read(2)
    if not start.startswith((_ZIP, _PICKLE)):
        return f"it is no torch file ({measured})"
    if start == _ZIP and not zipfile.is_zipfile(path):
        return f"it is damaged, its end is missing ({measured}): fetch or copy it anew"
    return None


def _first_line(error: Exception) -> str:
    """Of torch's long text only what is wrong, not its advice to turn the safety off."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "Unsupported" in line or "GLOBAL" in line), None)
    reason = said or (lines[0] if lines else "no reason given")
    return f"{type(error).__name__}: {reason.rstrip('.')}"
