"""A checkpoint as one safetensors file: nested plain values and tensors, no pickle, a checksum.

The tensors lie in the file under readable names ("optimizer/state/0/momentum_buffer"); what holds
them together is JSON in the file's metadata. The SHA-256 beside it is that of the whole file with
64 zeros in its own place, so that no byte can change unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from backbones.atomic import write_bytes_atomic

_FORMAT = "trickle checkpoint 1"
_SCALARS = (bool, int, float, str, type(None))
_ZEROS = b"0" * 64
# Unescaped quotes: no other place of the header holds these bytes.
_MARK = b'"sha256":"'


class DamagedCheckpoint(ValueError):
    """A checkpoint whose bytes are not those that were written."""


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes the file whole or not at all, replacing one that is there.

    content: dicts (OrderedDict and Counter too), lists and tuples of tensors, numbers, strings and
    None. Types, number formats and memory layouts come back as they were, but for numpy's scalars,
    which become Python's. Raises TypeError naming
    the place of anything else; OSError when the disk refuses.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_flatten(content, (), tensors))
    metadata = {"format": _FORMAT, "sha256": _ZEROS.decode(), "structure": structure}
    data = bytearray(safetensors.torch.save(_apart(tensors), metadata=metadata))
    place = _place_of_digest(data)
    data[place : place + 64] = hashlib.sha256(data).hexdigest().encode()
    write_bytes_atomic(path, data)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given, its tensors on the CPU.

    Raises DamagedCheckpoint where a byte is not as it was written, ValueError for the whole file of
    another version, OSError where it cannot be read.
    """
    data = path.read_bytes()
    try:
        place = _place_of_digest(data)
        digest = hashlib.sha256(memoryview(data)[:place])
        digest.update(_ZEROS)
        digest.update(memoryview(data)[place + 64 :])
        if data[place : place + 64] != digest.hexdigest().encode():
            raise ValueError("its bytes do not have its SHA-256")
    except ValueError as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error
    metadata = json.loads(data[8 : 8 + _header_length(data)])["__metadata__"]
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} was written by another version of Trickle (its format is "
            f"{metadata.get('format')!r}, not {_FORMAT!r}): go on with that version, or delete the "
            "folder to start anew"
        )
    content = _nest(json.loads(metadata["structure"]), safetensors.torch.load(data))
    assert isinstance(content, dict), "only dicts are written"
    return content


def _header_length(data: bytes | bytearray) -> int:
    return int.from_bytes(data[:8], "little")


def _place_of_digest(data: bytes | bytearray) -> int:
    place = data.find(_MARK, 8, 8 + min(_header_length(data), len(data)))
    if place < 0:
        raise ValueError("its header has no SHA-256")
    return place + len(_MARK)


def _flatten(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """JSON for `value`; its tensors go to `tensors`."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        order = _memory_order(tensor)
        name = "/".join(path)
        while name in tensors:  # {"a": {"b": ...}, "a/b": ...}
            name += "'"
        tensors[name] = tensor.permute(order).contiguous()
        return ["tensor", name, *([order] if order != sorted(order) else [])]
    if type(value) in (list, tuple):
        items = [_flatten(item, (*path, str(i)), tensors) for i, item in enumerate(value)]
        return [type(value).__name__, items]
    if type(value) in (dict, OrderedDict, Counter):
        pairs = [
            [_key(key, path), _flatten(item, (*path, str(key)), tensors)]
            for key, item in value.items()
        ]
        # torch keeps the versions of a state dict's modules here.
        hidden = getattr(value, "_metadata", None)
        return [
            type(value).__name__,
            pairs,
            *([] if hidden is None else [_flatten(hidden, (*path, "_metadata"), tensors)]),
        ]
    raise TypeError(
        f"a checkpoint holds tensors, numbers, strings and containers of them; "
        f"{'/'.join(path)} is a {type(value).__module__}.{type(value).__qualname__}"
    )


def _key(key: Any, path: tuple[str, ...]) -> Any:
    if isinstance(key, np.generic):
        key = key.item()
    if type(key) not in _SCALARS:
        raise TypeError(f"a key of {'/'.join(path)} in a checkpoint is {key!r}, not a plain value")
    return key


def _nest(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, list):
        return node
    kind, content, *rest = node
    if kind == "tensor":
        if not rest:
            return tensors[content]
        (order,) = rest
        return tensors[content].permute([order.index(d) for d in range(len(order))])
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_nest(item, tensors) for item in content)
    result = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}[kind]()
    for key, item in content:
        result[key] = _nest(item, tensors)
    if rest:
        result._metadata = _nest(rest[0], tensors)
    return result


def _memory_order(tensor: Tensor) -> list[int]:
    """The dimensions from the largest stride to the smallest: sums depend on the layout (that of
    channels-last weights) in their last bits. As they are where the tensor has gaps or overlaps."""
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=lambda d: -strides[d])
    return order if tensor.permute(order).is_contiguous() else list(range(tensor.ndim))


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """safetensors refuses tensors that share memory: all but the first of them are copied."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        apart[name] = tensor if whole else tensor.clone()
    return apart
